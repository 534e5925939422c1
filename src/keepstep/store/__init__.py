"""PostgreSQL: where the synced tables and everything Keepstep knows live. The only package that speaks SQL."""
