"""One database: engines, the writer, migrations, leases. SQLite embedded, PostgreSQL in production."""
