"""What can go wrong with the database and with Keepstep's own processes."""

from keepstep.model.faults import Fault

_STANDS_STILL = "Nothing is written while it is so; nothing that was written is lost."
_GOES_ON = "Nothing is lost: runs go on from the last page that was written."

OF_DATABASE = (
    Fault(
        "database-down", "error", "The database cannot be reached",
        "The database cannot be reached.{detail}", f"{_STANDS_STILL} {_GOES_ON}",
        "Check that it runs and that DATABASE_URL names its host and port.",
    ),
    Fault(
        "database-shut-down", "error", "The database was shut down",
        "The database was shut down.{detail}", f"{_STANDS_STILL} {_GOES_ON}",
        "Start it again; the next run goes on from here.",
    ),
    Fault(
        "database-starting", "warning", "The database is starting up",
        "The database is starting up.{detail}", _GOES_ON, "Try again in a few seconds.",
    ),
    Fault(
        "database-missing", "error", "The database does not exist",
        "The database does not exist.{detail}", _STANDS_STILL,
        "Create it, or correct the name at the end of DATABASE_URL.",
    ),
    Fault(
        "database-password", "error", "The database refuses the password",
        "The database refused the password.{detail}", _STANDS_STILL,
        "Correct the user or the password in DATABASE_URL.",
    ),
    Fault(
        "database-user", "error", "The database refuses the user",
        "The database refused the user.{detail}", _STANDS_STILL,
        "Correct the user in DATABASE_URL, or allow it in pg_hba.conf.",
    ),
    Fault(
        "database-rights", "error", "The database user lacks a right",
        "The database user lacks a right that Keepstep needs.{detail}", _STANDS_STILL,
        "Grant it CREATE on the database, or make it the owner.",
    ),
    Fault(
        "database-full", "error", "The database's disk is full",
        "The database's disk is full.{detail}",
        "The page under way was undone as a whole; what was written before stays.",
        "Free space on its server; the next run goes on from here.",
    ),
    Fault(
        "database-connections", "error", "The database has no free connection",
        "The database has no free connection.{detail}", _GOES_ON, "Raise max_connections or close other clients.",
    ),
    Fault(
        "database-busy", "warning", "All connections are busy",
        "All connections to the database were busy for {count} s.", _GOES_ON, "It is tried again by itself.",
    ),
    Fault(
        "database-read-only", "error", "The database is read-only",
        "The database is read-only.{detail}", _STANDS_STILL,
        "Point DATABASE_URL at the primary server, and see that default_transaction_read_only is off there.",
    ),
    Fault(
        "database-too-old", "error", "The database is too old",
        "The database is PostgreSQL {count}; Keepstep needs 14 or newer.", _STANDS_STILL,
        "Upgrade the server, or unset DATABASE_URL to use the embedded one.",
    ),
    Fault(
        "migrations-missing", "error", "The control tables are not up to date",
        "The control tables are not up to date{detail}.", "Nothing runs until they are; nothing is lost.",
        "Apply the migrations with: keepstep migrate",
    ),
    Fault(
        "migrations-newer", "error", "The database belongs to a newer Keepstep",
        "The database was migrated {detail}by a newer Keepstep than this one.",
        "This process writes nothing; newer ones go on.", "Upgrade Keepstep on this machine.",
    ),
    Fault(
        "migration-altered", "error", "A migration was applied in another form",
        "Migration {detail} was applied in another form than this version has.", "Nothing is changed.",
        "Install the version of Keepstep that this database was made with, or a newer release.",
    ),
    Fault(
        "store", "error", "The database refuses a statement",
        "The database refused a statement: {detail}.", "The transaction was undone as a whole.",
        "Look into the database's log; keepstep doctor checks what Keepstep needs of it.",
    ),
)  # fmt: skip

OF_KEEPSTEP = (
    Fault(
        "lock-orphaned", "warning", "A run's process is gone",
        "The process of run {count} is gone; its lock is still there.", _GOES_ON,
        "Nothing to do while a worker runs: it is taken over within a minute. Else start one: keepstep up, or take it "
        "over with: keepstep run {integration}",
    ),
    Fault(
        "scheduler-silent", "error", "The scheduler is silent",
        "{detail}", "No run starts by itself; the tables grow old.",
        "Start one with: keepstep up (or keepstep worker).",
    ),
    Fault(
        "worker-missing", "error", "No worker is alive",
        "No worker was heard of in the last {count} s.", "Runs are queued and not performed; the tables grow old.",
        "Start one with: keepstep worker (or keepstep up).",
    ),
    Fault(
        "webhook-malformed", "warning", "The alerts' address cannot be used",
        "INTEGRATIONS_TEAMS_WEBHOOK {detail}.", "No alert reaches anybody; the data is not concerned.",
        "Copy the address of the Teams workflow again; it begins with https://.",
    ),
    Fault(
        "webhook-refused", "warning", "The alerts' address refuses",
        "The address that alerts go to refused one{detail}.",
        "No alert reaches anybody; the data is not concerned. What was not delivered is kept and tried again.",
        "Check INTEGRATIONS_TEAMS_WEBHOOK: the workflow may be switched off, deleted, or owned by somebody who left.",
    ),
    Fault(
        "secret-key-changed", "error", "No key opens the stored credentials",
        "The stored credentials of {integration} were encrypted with another key.",
        "The integration has no credentials and stays idle; the tables grow old.",
        "Add the key that they were encrypted with to KEEPSTEP_SECRET_KEY (or put the file secret-key back into "
        "KEEPSTEP_HOME), or set the credentials again.",
    ),
    Fault(
        "clock-skew", "warning", "Clocks differ",
        "This machine's clock and {host} differ by {count} s.",
        "Waits and times shown may be wrong; what is read and written is not concerned.",
        "Let the machines keep time with NTP.",
    ),
    Fault(
        "disk-full", "error", "The disk is full",
        "{count} free for {path}.", "The embedded database and the logs cannot grow: runs fail until there is room.",
        "Free some space, or move KEEPSTEP_HOME.",
    ),
    Fault(
        "disk-low", "warning", "The disk is nearly full",
        "{count} free for {path}.", "Nothing yet; when it is full, runs fail until there is room.",
        "Free some space soon.",
    ),
    Fault(
        "home-unusable", "error", "The data directory cannot be used",
        "{path} cannot be used: {detail}.", "Secrets and the embedded database cannot be kept.",
        "Make {advice} writable for this user, or set KEEPSTEP_HOME to a directory that is.",
    ),
    Fault(
        "setting-odd", "warning", "A setting cannot be taken as it is",
        "{detail}", "A usable value is in effect instead.", "{advice}",
    ),
    Fault(
        "program-old", "error", "Python is too old",
        "{detail}", "Keepstep may not run.", "Use Python 3.11 or newer.",
    ),
    Fault(
        "system-untested", "warning", "Keepstep is tested on Linux only",
        "{detail} Keepstep is tested on Linux only.", "Nothing known.",
        "If the embedded database does not start here, set DATABASE_URL.",
    ),
    Fault(
        "internal", "error", "A fault of Keepstep's own",
        "Keepstep met an unexpected error.", "The transaction under way was undone as a whole.",
        "Please report it with the details in logs/errors.log of KEEPSTEP_HOME, or in the log of the process.",
    ),
)  # fmt: skip
