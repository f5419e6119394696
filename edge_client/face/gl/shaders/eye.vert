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
out float below_lid;
void main() {
  vec3 turned = gaze * direction;
  vec3 p = (turn * vec4(centre + turned * radius, 1.0)).xyz;
  local = direction;
  facing = mat3(turn) * turned;
  below_lid = turned.y;
  gl_Position = camera * vec4(p, 1.0);
}
