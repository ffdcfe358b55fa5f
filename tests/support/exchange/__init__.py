"""Files for programs that know nothing of respeval, and the compliance-checker's verdict on them."""
