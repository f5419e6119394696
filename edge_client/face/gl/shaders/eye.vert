#version 300 es
precision highp float;
layout(location = 0) in vec3 direction;  // on the unit sphere, z ahead
uniform mat4 turn;
uniform mat4 camera;
uniform mat3 gaze;
uniform vec3 centre;
uniform vec3 radius;
out vec3 local;
out vec3 facing;
out float lit;
void main() {
  vec3 turned = gaze * direction;
  vec3 p = (turn * vec4(centre + turned * radius, 1.0)).xyz;
  local = direction;
  facing = mat3(turn) * turned;
  lit = 0.62 + 0.42 * max(dot(facing, vec3(0.406, 0.487, 0.773)), 0.0);
  lit *= 1.0 - 0.50 * smoothstep(0.06, 0.50, turned.y) - 0.12 * smoothstep(-0.25, -0.55, turned.y);  // the lids' shadows
  gl_Position = camera * vec4(p, 1.0);
}
