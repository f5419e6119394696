#version 300 es
precision mediump float;
in vec2 strand;  // the place along the lid, and the way from root to tip
out vec4 colour;
void main() {
  float across = abs(fract((strand.x + strand.y * 0.014) * 130.0) - 0.5) * 2.0;
  float hair = mix(1.0, smoothstep(0.85, 0.25, across), smoothstep(0.0, 0.35, strand.y));
  colour = vec4(0.075, 0.05, 0.045, 0.80 * hair * smoothstep(0.95, 0.10, strand.y));
}
