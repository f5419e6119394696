#version 300 es
precision mediump float;
in vec2 strand;  // the place along the lid, and the way from root to tip
out vec4 colour;
void main() {
  float across = abs(fract((strand.x + strand.y * 0.012) * 95.0) - 0.5) * 2.0;
  float hair = smoothstep(0.15 + 0.8 * strand.y, 0.0, across - 0.25);
  colour = vec4(0.075, 0.05, 0.045, 0.85 * hair * smoothstep(1.0, 0.15, strand.y));
}
