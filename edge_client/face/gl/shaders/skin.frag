#version 300 es
precision mediump float;
in vec2 spot;
in vec4 light;
uniform sampler2D paint;
out vec4 colour;
void main() {
  float near = light.a * light.a; near *= near; near *= near; near *= near;
  colour = vec4(texture(paint, spot).rgb * light.rgb + near, 1.0);
}
