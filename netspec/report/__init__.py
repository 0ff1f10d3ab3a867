"""The only room that formats: tables, plots, pages and progress from plain values."""
