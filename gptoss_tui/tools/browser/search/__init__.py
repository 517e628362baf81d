"""Search services of the web: who is asked, with which key, and what is made of the answer."""
