#version 300 es
precision highp float;
uniform vec3 view;  // half the width and half the height of what is seen, and its middle's height, in head units
out vec2 corner;    // -1 to 1 over the picture
out vec2 spot;      // in head units: 0 is between the eyes
void main() {
  corner = vec2(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0);
  spot = corner * view.xy + vec2(0.0, view.z);
  gl_Position = vec4(corner, 0.0, 1.0);
}
