"""Images, judged by their error against the fp32 reference in units of honest noise, from noise that the gate gives."""
