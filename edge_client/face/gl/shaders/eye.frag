#version 300 es
// An eyeball: a cornea that stands out and bends what is seen of the iris, the shadow of the lids, tears, a window mirrored.
precision highp float;
in vec3 local;
in vec3 socket;
in vec3 sight;
flat in vec3 key;
flat in vec3 across;
flat in vec3 upwards;
uniform vec3 lids;  // heights of the upper and the lower lid's edge in the middle, on the unit sphere; 1 if the nose is at −x, else −1
uniform sampler2D paint;  // the eye seen from straight ahead
out vec4 colour;

const float IRIS = 0.435, IRIS_Z = 0.81, INTO_WATER = 0.749;

void main() {
  vec3 d = normalize(local), ray = normalize(sight), place = normalize(socket);
  float r = length(d.xy);
  float cornea = 1.0 - smoothstep(IRIS - 0.08, IRIS + 0.05, r);
  vec3 n = normalize(vec3(d.xy * (1.0 + 0.55 * cornea), d.z));

  vec3 bent = refract(ray, n, INTO_WATER);
  vec2 within = d.xy + bent.xy * ((IRIS_Z - d.z) / min(bent.z, -0.3));
  vec2 spot = mix(d.xy, within, cornea);
  vec3 c = texture(paint, spot * 0.5 + 0.5).rgb;
  float corner = smoothstep(0.50, 0.86, -place.x * lids.z);
  c = mix(c, vec3(0.80, 0.47, 0.43), 0.65 * corner);  // the flesh in the corner at the nose

  // Light that enters the cornea at one side is gathered on the other side of the iris.
  float caustic = 0.90 + 0.55 * cornea * dot(spot, -key.xy) / IRIS + 0.22 * cornea;
  float lit = 0.50 + 0.46 * max(0.0, dot(d, key) * 0.75 + 0.25);
  lit *= mix(1.0, caustic, cornea);
  float arch = 0.46 * place.x * place.x;
  float below_lid = lids.x - arch - place.y, above_lid = place.y - (lids.y + 0.55 * arch);
  float shadow = mix(0.34, 1.0, smoothstep(-0.06, 0.34, below_lid)) * mix(0.72, 1.0, smoothstep(-0.02, 0.16, above_lid));
  shadow *= 1.0 - 0.45 * smoothstep(0.45, 0.95, abs(place.x));
  c *= lit * mix(vec3(shadow), vec3(1.0, 0.93, 0.90), vec3(shadow));  // what the lid lets through is warm

  vec3 m = reflect(ray, n);
  vec2 pane = vec2(dot(m, across), dot(m, upwards));
  vec2 frame = smoothstep(vec2(0.36, 0.44), vec2(0.20, 0.26), abs(pane)) * smoothstep(vec2(-0.03), vec2(0.045), abs(pane));
  float window = frame.x * frame.y * step(0.0, dot(m, key));
  float hidden = smoothstep(-0.02, 0.10, below_lid);
  float sky = 0.10 * smoothstep(-0.2, 0.9, m.y) * cornea + 0.07 * smoothstep(-0.25, -0.7, m.y) * cornea;
  float tears = smoothstep(0.10, 0.015, above_lid) * (0.16 + 0.34 * smoothstep(0.55, 0.0, abs(place.x - 0.25)));
  c += vec3(1.0, 0.985, 0.96) * (window * mix(0.14, 0.80, cornea) * hidden + tears * 0.55) + vec3(0.75, 0.88, 1.0) * sky * hidden;
  colour = vec4(c, 1.0);
}
