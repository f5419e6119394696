#version 300 es
precision mediump float;
in vec2 spot;
uniform sampler2D paint;
out vec4 colour;
void main() { colour = texture(paint, spot); }
