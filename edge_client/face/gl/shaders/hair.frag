#version 300 es
precision mediump float;
in vec2 spot;
in vec3 light;
in vec2 ring;
uniform sampler2D paint;  // strands: colour, and how much of the highlight each takes
out vec4 colour;
void main() {
  vec4 strand = texture(paint, spot);
  colour = vec4(strand.rgb * (light + ring.y * strand.a * 0.75) + vec3(0.50, 0.44, 0.38) * (ring.x * strand.a * strand.a), 1.0);
#ifdef HIGH
  // It counts only where it decides which samples of a pixel are covered. Five locks lie side by side in the picture.
  float inward = 0.5 - abs(fract(spot.x * 5.0) - 0.5);
  colour.a = inward * 5.0 + strand.a * 1.5 - 0.75 - 1.8 * smoothstep(0.70, 1.0, spot.y) - 1.5 * smoothstep(0.10, 0.0, spot.y);
#endif
}
