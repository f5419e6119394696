#version 300 es
precision highp float;
in vec2 spot;
in vec4 light;
uniform sampler2D paint;
out vec4 colour;
#ifdef HIGH
in vec3 facing;
in vec3 sight;
in vec4 surface;
uniform sampler2D relief;  // slopes of pores
uniform vec3 mouth;        // 1 in y if this is a built-in head, whose cloth has the least gloss
uniform vec3 creases;      // how deep those of raised brows, of a frown and of a smile are

const vec3 KEY = vec3(0.406, 0.487, 0.773), FILL = vec3(-0.832, 0.104, 0.545);
const vec3 KEY_COLOUR = vec3(0.70, 0.655, 0.61), FILL_COLOUR = vec3(0.20, 0.225, 0.265);
const vec3 SKY = vec3(0.47, 0.475, 0.49), GROUND = vec3(0.33, 0.275, 0.26), RIM = vec3(0.24, 0.27, 0.33);
const vec3 SOFT = vec3(0.34, 0.17, 0.12);

// The slope of a crease along a line at `off` from here, both as parts of its width.
float crease(float off) { return off * exp(-off * off); }

vec2 wrinkles() {
  float y = spot.y * 3.67 - 2.05, x = spot.x - 0.5, side = sign(x);
  x = abs(x);
  float forehead = smoothstep(0.30, 0.38, y) * smoothstep(0.64, 0.54, y) * smoothstep(0.20, 0.08, x);
  float row = (y + 0.012 * cos(x * 34.0)) / 0.088;
  float across = creases.y * exp(-pow((y - 0.19) / 0.09, 2.0)) * crease((x - 0.026) / 0.008) * 1.1;
  float fold = mix(0.050, 0.118, clamp((-0.33 - y) / 0.30, 0.0, 1.0));
  across += creases.z * smoothstep(-0.30, -0.40, y) * smoothstep(-0.74, -0.58, y) * crease((x - fold) / 0.013) * 1.1;
  return vec2(side * across, creases.x * forehead * sin(6.2832 * row) * 0.20);
}

// The threads of knitted cloth: rows of loops. They fade if they are finer than pixels.
vec2 weave() {
  vec2 at = spot * vec2(190.0, 130.0);
  at.y += 0.25 * cos(12.5664 * at.x);
  vec2 fine = fwidth(at);
  return vec2(sin(12.5664 * at.x), sin(6.2832 * at.y)) * 0.30 * smoothstep(0.45, 0.15, max(fine.x * 2.0, fine.y));
}
#endif

void main() {
  vec3 c = texture(paint, spot).rgb;
#ifdef HIGH
  vec3 n = normalize(facing), to_viewer = normalize(sight);
  vec3 t = normalize(cross(vec3(0.0, 1.0, 0.0), n) + vec3(1e-4, 0.0, 0.0)), up = cross(n, t);
  float bare = smoothstep(0.30, 0.46, c.r) * step(c.b, c.r) * (1.0 - surface.w);
  float lips = smoothstep(0.66, 0.58, c.g / max(c.r, 0.01)) * bare;
  float cloth = mouth.y * smoothstep(0.13, 0.06, surface.y);
  vec2 slope = ((texture(relief, spot * vec2(16.0, 11.0)).rg - 0.5) * 0.34 + wrinkles()) * bare * (1.0 - cloth) + weave() * cloth;
  n = normalize(n + t * slope.x + up * slope.y);
  float edge = 1.0 - max(dot(n, to_viewer), 0.0);
  edge *= edge;
  vec3 lit = KEY_COLOUR * max(vec3(0.0), (vec3(dot(n, KEY)) + SOFT) / (1.0 + SOFT)) * mix(1.0, surface.x, 0.5 + 0.5 * surface.w) * surface.z
        + FILL_COLOUR * max(vec3(0.0), (vec3(dot(n, FILL)) + SOFT) / (1.0 + SOFT))
        + mix(GROUND, SKY, n.y * 0.5 + 0.5) * surface.x * mix(1.0, surface.z, 0.5)
        + RIM * edge * edge * surface.x;
  float near = max(dot(n, normalize(KEY + to_viewer)), 0.0);
  float broad = near * near; broad *= broad; broad *= broad; broad *= broad;
  float tight = broad * broad; tight *= tight;
  float wet = max(0.4 * lips, surface.w);
  float mirrored = (0.55 * surface.y * broad + tight * (0.04 * bare * (1.0 - cloth) + 0.30 * wet)) * surface.x * surface.z;
  colour = vec4(c * lit + mirrored, 1.0);
#else
  float near = light.a * light.a; near *= near; near *= near; near *= near;
  colour = vec4(c * light.rgb + near, 1.0);
#endif
}
