#version 300 es
precision mediump float;
in vec2 spot;
in vec4 light;
uniform sampler2D paint;
uniform int solid;  // 1: draws what hides what is behind it; 0: the rest, which is blended
out vec4 colour;
void main() {
  vec4 c = texture(paint, spot);
  if (c.a < (solid == 1 ? 0.6 : 0.02)) discard;
  float near = light.a * light.a; near *= near; near *= near; near *= near;
  colour = vec4(c.rgb * light.rgb + near, solid == 1 ? 1.0 : c.a);
}
