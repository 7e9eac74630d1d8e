"""One equation or simulator a file: plain functions of SI arrays with leading batch axes."""
