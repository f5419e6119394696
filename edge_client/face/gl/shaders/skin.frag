#version 300 es
precision mediump float;
in vec2 spot;
in vec3 light;
in vec3 facing;
in vec4 half_way;
uniform sampler2D paint;
out vec4 colour;
void main() {
  float shine = max(dot(normalize(facing), half_way.xyz), 0.0);
  shine *= shine; shine *= shine; shine *= shine; shine *= shine;
  colour = vec4(texture(paint, spot).rgb * light + shine * half_way.w * 0.55, 1.0);
}
