#version 300 es
// Light for each vertex, as on the skin; the strands' highlight is a ring about the tangent (Kajiya and Kay 1989).
precision highp float;
layout(location = 0) in vec3 place;
layout(location = 1) in vec3 normal;
layout(location = 2) in vec2 chart;
layout(location = 3) in float shade;
layout(location = 4) in vec3 along;
layout(location = 5) in vec2 cover;
uniform mat4 turn;
uniform mat4 camera;
uniform vec3 viewer;
out vec2 spot;
out vec3 light;
out vec2 ring;  // the two highlights
#ifdef HIGH
out vec2 aside;  // how far off each is
#endif
out vec2 over;

const vec3 KEY = vec3(0.406, 0.487, 0.773), FILL = vec3(-0.832, 0.104, 0.545), BACK = vec3(-0.55, 0.55, -0.63);

float follow(vec3 p) {
  float part = clamp((p.y + 1.50) / 0.75 + 0.9 * max(0.0, p.z + 0.40), 0.0, 1.0);
  return part * part * (3.0 - 2.0 * part);
}

void main() {
  float part = follow(place);
  vec3 p = mix(place, (turn * vec4(place, 1.0)).xyz, part);
  mat3 turned = mat3(turn);
  vec3 n = normalize(mix(normal, turned * normal, part)), t = normalize(mix(along, turned * along, part));
  vec3 to_viewer = normalize(viewer - p);
  float away = smoothstep(0.0, -0.5, dot(n, to_viewer));  // the inside of the hair behind the neck
  float key = max(0.0, (dot(n, KEY) + 0.25) / 1.25), fill = max(0.0, (dot(n, FILL) + 0.3) / 1.3);
  float edge = 1.0 - max(dot(n, to_viewer), 0.0);
  light = (vec3(0.78, 0.73, 0.68) * key + vec3(0.20, 0.225, 0.265) * fill + mix(vec3(0.30, 0.26, 0.25), vec3(0.50, 0.505, 0.52), n.y * 0.5 + 0.5)
        + vec3(0.30, 0.33, 0.40) * edge * edge * max(0.0, dot(n, BACK) + 0.5)) * shade * (1.0 - 0.62 * away);
  float th = dot(t + 0.10 * n, normalize(KEY + to_viewer));
  float th2 = dot(t - 0.16 * n, normalize(vec3(0.05, 0.93, 0.30) + to_viewer));
  float lit = shade * (1.0 - away);
  vec2 most = vec2(1.25 * smoothstep(-0.25, 0.45, dot(n, KEY)), 1.0) * lit;
#ifdef HIGH
  aside = vec2(th, th2);
  ring = most;
#else
  ring = most * vec2(pow(max(0.0, 1.0 - th * th), 18.0), pow(max(0.0, 1.0 - th2 * th2), 6.0));
#endif
  spot = chart;
  over = cover;
  gl_Position = camera * vec4(p, 1.0);
}
