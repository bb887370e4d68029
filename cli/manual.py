"""What `--help` says of each command below its arguments."""

EPILOG = """\
Settings are the appliance's own environment variables. Colours and tables are for terminals, and NO_COLOR=1 turns the
colours off; --json is for scripts.

Examples:
  appliance ship-now && appliance tail -n 3 --no-follow
  appliance audit    is every byte of the log in the bucket?

Exit codes of every command:
  0    no problem was found
  1    a problem was found, or the command failed; the message says what mends it
  2    wrong arguments or settings; audit: it cannot tell
  130  ended by Ctrl-C; tail and status --watch end with 0
"""

STATUS = """\
The row `log` compares access.log with what was acknowledged at the last poll. The row `archive` compares that with the
ledgers in the bucket, every REPAIR_INTERVAL seconds. A row `format` is there while most of the newest lines are
rejected. Being behind is no problem. With LOG_FILES each log has such rows; in --json it has `behind`, `format` and
`archive` below `logs` and its name.

Examples:
  appliance status --watch 5
  appliance status --json | jq .behind

Exit codes: 0 no part is degraded or failing, 1 a part is, or nothing runs, 2 wrong settings.
"""

SHIP = """\
The producer polls now instead of at the next full minute (POLL_INTERVAL); its schedule stays. The command returns when
the lines are acknowledged. They are in the bucket a moment later, with DELIVERY=s3 at once.

Examples:
  appliance ship-now
  appliance ship-now --json --timeout 300    for a long backlog

Exit codes: 0 all that was in the log is acknowledged, 1 not all, or no answer, 2 wrong settings.
"""

TAIL = """\
Reads the bucket only, so a line appears once it is archived. Shows the last lines of the last 24 hours (with
DELIVERY=firehose: of this hour and the last), then follows the objects of the same hours, and waits for an endpoint
that goes away. An object that was rewritten is shown from its beginning. A terminal gets control characters as escapes;
--json in a pipe or file has the bytes of the object.

Examples:
  appliance tail -n 100 --no-follow         the last 100 lines
  appliance tail --since 2h --status 5xx    server errors since two hours ago
  appliance tail --path /login --json | jq .userAgent

Exit codes: 0 ended by Ctrl-C or shown, 1 the endpoint does not answer at the start, 2 wrong arguments or settings.
"""

VERIFY = """\
It takes up to one POLL_INTERVAL, and with DELIVERY=firehose also the time for which Firehose buffers. The first step
that fails is the last. --json prints `step`, `ok`, `detail` and `seconds`; `detail` says what was seen, or what is
wrong and what mends it.

Examples:
  appliance verify --json | jq -r 'select(.ok | not) | .step'

Exit codes: 0 every step passed, 1 one failed, 2 wrong settings.
"""

AUDIT = """\
The columns, in bytes:
  written       complete lines on disk
  acknowledged  confirmed by the stream, or with DELIVERY=s3 by the bucket (log/checkpoint.json)
  archived      in an hourly object, by the ledgers in the bucket; or seen in one before, and not in the bucket now
  missing       acknowledged more than REPAIR_AFTER seconds ago, and in no ledger
  pending       the rest: not acknowledged yet, or only lately

The producer sends missing lines again every REPAIR_INTERVAL seconds, as long as the log is on disk; --repair asks for
that at once. A rotated log that "may be deleted" is needed for nothing; the appliance deletes those it has rotated.

--deep reads the hourly objects, and finds lines that are archived otherwise than the log on disk has them: forged under
its ranges, edited, or taken out of an object. It says nothing of logs that are gone; and lines that an earlier version
filed in another form count as found otherwise.

With LOG_FILES each log is audited; --json has its object below `logs` and its name, or `error`: why it cannot tell.

Exit codes: 0 nothing is missing, 1 something is, or is archived otherwise, 2 cannot tell. With DELIVERY=firehose it is
always 2: there are no ledgers, so only what is acknowledged can be known.
"""

IMPORT = """\
Plain files and what gzip, bzip2 or xz has packed, in the format that ACCESS_LOG_FORMAT names. The command returns when
the lines are acknowledged. A file is known by its content: the same again, renamed or packed, adds nothing, so after
an interruption, or a loss, import the same files again. A file that has grown is gone on with, as long as
log/imported.json is there. One that begins like an imported one and goes on otherwise is refused. What the producer
sends, or has sent, is skipped. --json counts bytes as they are unpacked.

Examples:
  appliance import old/access.log.*
  appliance import --json access-2019.log.xz | jq .lines

Exit codes: 0 all is acknowledged or was skipped, 1 not all, 2 a file cannot be imported, or wrong settings: nothing is
sent. With DELIVERY=firehose it is always 2: without ledgers, a second import would double every line.
"""

FORMATS = """\
Reads the newest 1,000 lines of FILE, and tries each named format and the present ACCESS_LOG_FORMAT. FILE may be packed
by gzip, bzip2 or xz. --json has how many lines the setting rejects, and each format (`by_format`).

Examples:
  appliance formats /var/log/nginx/access.log

Exit codes: 0 ACCESS_LOG_FORMAT reads most of the lines, 1 it does not, 2 FILE cannot be read, or wrong settings.
"""

REPAIR_LEDGER = """\
Nothing is appended to an object whose ledger cannot be read, as that could double lines. This makes the ledger
again: it covers the lines of the logs on disk that are in the object, as often as they are there, and what was seen
archived of logs that are gone (log/archived.json). No line of the object changes.

Exit codes: 0 it has a ledger again, 1 it has a readable one, or it cannot be done, 2 wrong settings.
"""

LOGS = """\
--json prints `time` (UTC), `stream` (an instance of the function) and `message` (a text, or the object that the
function has logged; docs/events.md).

Examples:
  appliance logs lambda --json --minutes 10 | jq -c '.message | objects | select(.event == "failed")'

Exit codes: 0 printed, 1 there is none or the endpoint does not answer, 2 wrong arguments or settings.
"""

REPROCESS = """\
For after a change of ACCESS_LOG_FORMAT. The entries come first, then they leave the objects below rejected/, which keep
their ledgers: do not delete those. So a run that was cut short goes on when it is run again, nothing is doubled, and
lines that are sent again are archived already. Lines of other programs, which have no place in a log, may be doubled by
that if new ones were rejected meanwhile. HOURS are of the lines' own time; all logs of LOG_FILES are looked at. It
needs the right to write to the bucket.

Examples:
  appliance reprocess
  appliance reprocess 2026/11/30    one day; 2026/11 is a month, 2026/11/30/09 an hour

Exit codes: 0 all lines that the present format can read are entries, 1 not all, 2 wrong arguments or settings. With
DELIVERY=firehose it is always 2: there are no ledgers.
"""

POLICY = """\
For the role or user of a producer on AWS. Bucket, prefix and stream are those of the settings. With DELIVERY=kinesis,
what it allows on the bucket is for repair; with DELIVERY=s3 it is all there is. With a key of your own, allow
kms:GenerateDataKey on it too, and for the bucket's key kms:Decrypt.

Examples:
  appliance policy > policy.json
  DELIVERY=s3 S3_BUCKET=example-web-log script/appliance policy

Exit codes: 0 printed, 2 wrong settings.
"""

HEALTH = """\
Exit codes: 0 no part is failing (with --ready: every part is ok), 1 otherwise, 2 wrong settings.
"""
