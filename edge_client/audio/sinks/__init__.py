"""What sound can be played into, each behind `AudioSink`."""
