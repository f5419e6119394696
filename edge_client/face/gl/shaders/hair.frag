#version 300 es
precision mediump float;
in vec2 spot;
in vec3 light;
in vec2 ring;
in vec2 over;
uniform sampler2D paint;  // strands: colour, and how much of the highlight each takes
uniform vec3 sheen;
out vec4 colour;
#ifdef HIGH
in vec2 aside;
#endif
void main() {
  vec4 strand = texture(paint, spot);
  vec2 shine = ring;
#ifdef HIGH
  vec2 off = aside + (strand.a - 0.65) * vec2(0.30, 0.40);  // each strand lies a little differently
  off = max(vec2(0.0), 1.0 - off * off);
  shine *= vec2(pow(off.x, 30.0), pow(off.y, 9.0));
#endif
  float cover = clamp((1.0 - abs(over.x)) * 4.0 + strand.a * 1.5 - 0.5 - over.y, 0.0, 1.0);
  colour = vec4(strand.rgb * (light + shine.y * strand.a * 0.75) + sheen * (shine.x * (0.20 + 0.40 * strand.a)), cover);
}
