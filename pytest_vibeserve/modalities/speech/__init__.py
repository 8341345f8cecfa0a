"""Speech: transcripts of whole clips and of streams in real time, audited token by token and by word errors."""
