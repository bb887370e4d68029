"""What `--help` says of each command below its arguments."""

EPILOG = """\
Settings are the appliance's own environment variables. --json is for scripts; NO_COLOR=1 turns colours off.

Examples:
  appliance ship-now && appliance tail -n 3 --no-follow

Exit codes; some commands say more:
  0    no problem was found
  1    a problem was found, or the command failed; the message says what mends it
  2    wrong arguments or settings
  130  ended by Ctrl-C; tail and status --watch end with 0
"""

STATUS = """\
The row `log` compares access.log with what was acknowledged at the last poll, the row `archive` that with the ledgers
in the bucket, every REPAIR_INTERVAL seconds. Being behind is no problem. A row `format` is there while most of the
newest lines are rejected. With LOG_FILES each log has such rows, in --json below `logs` and its name.

Examples:
  appliance status --json | jq .behind

Exit codes: 0 no part is degraded or failing, 1 a part is, or nothing runs.
"""

SHIP = """\
Returns when the lines are acknowledged. They are in the bucket a moment later, with DELIVERY=s3 at once.

Examples:
  appliance ship-now --timeout 300    for a long backlog

Exit codes: 0 all that was in the log is acknowledged, 1 not all, or no answer.
"""

TAIL = """\
Looks at the last 24 hours, with DELIVERY=firehose at this hour and the last. An endpoint that goes away is waited for.
An object that was rewritten is shown from its beginning. A terminal gets control characters as escapes.

Examples:
  appliance tail --since 2h --status 5xx

Exit codes: 0 all is shown, 1 the endpoint does not answer at the start.
"""

VERIFY = """\
Takes up to one POLL_INTERVAL, with DELIVERY=firehose also the time for which Firehose buffers, and ends at the first
step that fails. --json prints `step`, `ok`, `seconds` and `detail`: what was seen, or what is wrong and what mends it.

Examples:
  appliance verify --json | jq -r 'select(.ok | not) | .step'

Exit codes: 0 every step passed, 1 one failed.
"""

AUDIT = """\
The columns, in bytes:
  written       complete lines on disk
  acknowledged  confirmed by the stream, or with DELIVERY=s3 by the bucket
  archived      in a ledger of the bucket, or seen in one before
  missing       acknowledged more than REPAIR_AFTER seconds ago, and not archived
  pending       the rest

The producer sends missing lines again every REPAIR_INTERVAL seconds, while the log is on disk. The appliance deletes
rotated logs of its own that "may be deleted", as they are needed for nothing.

--deep finds lines that were forged, edited, or taken out of an object, by the logs that are still on disk; also those
that another version or other settings filed otherwise.

With LOG_FILES, --json has each log below `logs`, with its `error` if it cannot tell.

Exit codes: 0 nothing is missing, 1 something is, or is archived otherwise, 2 cannot tell; always 2 with
DELIVERY=firehose, which has no ledgers.
"""

IMPORT = """\
Reads plain files and those of gzip, bzip2 or xz, in the format of ACCESS_LOG_FORMAT, and returns when the lines are
acknowledged. A file is known by its content: after an interruption or a loss import it again, renamed or packed as
well, and nothing is doubled. A file that has grown is continued, as long as log/imported.json is there; one that goes
on otherwise than before is refused. What the producer sends, or has sent, is skipped. --json counts unpacked bytes.

Exit codes: 0 all is acknowledged or was skipped, 1 not all, 2 a file cannot be imported, and nothing is sent; always 2
with DELIVERY=firehose, where a second import would double every line.
"""

FORMATS = """\
Tries each named format and ACCESS_LOG_FORMAT on the newest 1,000 lines of FILE, also in gzip, bzip2 or xz. --json: how
many the setting rejects, and each format (`by_format`); FIELDS that none has (`null`).

Exit codes: 0 ACCESS_LOG_FORMAT reads most of the lines, 1 it does not, 2 FILE cannot be read.
"""

REPAIR_LEDGER = """\
Without a ledger nothing is appended to an object, as that could double lines. The new one covers the lines of the logs
on disk that are in the object, and what was seen archived of logs that are gone (log/archived.json).

Exit codes: 0 it has a ledger again, 1 it has a readable one, or it cannot be done.
"""

LOGS = """\
--json prints `time` (UTC), `stream` (an instance of the function) and `message` (a text, or an event: docs/events.md).

Examples:
  appliance logs lambda --json --minutes 10 | jq -c '.message | objects | select(.event == "failed")'
"""

REPROCESS = """\
For after a change of ACCESS_LOG_FORMAT; it needs the right to write to the bucket. It may be interrupted and run again:
nothing is doubled but lines of other programs, if new ones were rejected meanwhile. Leave the objects below rejected/,
which keep the ledgers. HOURS are of the lines' own time; all of LOG_FILES are looked at.

Examples:
  appliance reprocess 2026/11/30    one day; 2026/11 is a month, 2026/11/30/09 an hour

Exit codes: 0 all lines that the present format can read are entries, 1 not all, 2 always with DELIVERY=firehose, which
has no ledgers.
"""

POLICY = """\
For the role or user of a producer on AWS, with bucket, prefix and stream of the settings. With KMS keys of your own,
allow kms:GenerateDataKey on them too, and for the bucket's kms:Decrypt.
"""

HEALTH = """\
Exit codes: 0 no part is failing, 1 otherwise.
"""
