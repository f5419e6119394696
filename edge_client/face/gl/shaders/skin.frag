#version 300 es
precision mediump float;
in vec2 spot;
in vec3 light;
in vec2 shine;
uniform sampler2D paint;
out vec4 colour;
void main() {
  float near = shine.x * shine.x; near *= near; near *= near; near *= near;
  colour = vec4(texture(paint, spot).rgb * light + near * shine.y, 1.0);
}
