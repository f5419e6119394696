#version 300 es
precision highp float;
layout(location = 0) in vec3 direction;  // on the unit sphere, z ahead
uniform mat4 turn;
uniform mat4 camera;
uniform mat3 gaze;
uniform vec3 centre;
uniform vec3 radius;
uniform vec3 viewer;
out vec3 local;      // the direction on the eyeball
out vec3 socket;     // the same before the lids, which do not turn with the gaze
out vec3 sight;      // from the viewer, in the eyeball's own frame
flat out vec3 key;   // towards the key light, and across and up in the window through which it comes, in that frame
flat out vec3 across;
flat out vec3 upwards;
void main() {
  vec3 turned = gaze * direction;
  vec3 p = (turn * vec4(centre + turned * radius, 1.0)).xyz;
  mat3 from_eye = mat3(turn) * gaze;
  local = direction;
  socket = turned;
  sight = (p - viewer) * from_eye;
  key = vec3(0.440, 0.270, 0.857) * from_eye;
  across = vec3(0.890, 0.0, -0.457) * from_eye;
  upwards = vec3(-0.123, 0.964, -0.240) * from_eye;
  gl_Position = camera * vec4(p, 1.0);
}
