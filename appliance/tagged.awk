# Puts a program's lines into the form of LOG_FORMAT (`format`; `name` is the program's). Lines that common/log.py has
# formatted get the name at most; all others are wrapped. Of nginx and the emulator, whose lines a client can cause, it
# passes 20 a second and counts the rest. Works byte by byte (LC_ALL=C), and needs strftime and systime besides POSIX's
# awk.

BEGIN {
    # the newline goes with its line: mawk writes each string at once, and supervisord hands on what it has read
    ORS = ""
    most = name ~ /^(nginx|emulator)$/ ? 20 : 0
    for (code = 0; code < 256; code++) {
        ordinal[sprintf("%c", code)] = code
    }
    # RFC 3629, "Syntax of UTF-8 Byte Sequences"
    tail = "[\200-\277]"
    longer = "[\303-\337]" tail "|\340[\240-\277]" tail "|[\341-\354\356\357]" tail tail "|\355[\200-\237]" tail \
        "|\360[\220-\277]" tail tail "|[\361-\363]" tail tail tail "|\364[\200-\217]" tail tail ")+"
    utf8 = "^([\001-\177]|\302" tail "|" longer
    # the same without control characters, but for the tab: U+0080 to U+009F are some as well
    harmless = "^([\t\040-\176]|\302[\240-\277]|" longer
    # what is hidden, and what stays before and behind it, all in lower case
    while ((getline rule < hidden) > 0) {
        split(rule, parts, "\t")
        # mawk knows no empty group
        before[++rules] = parts[1] == "" ? "" : "(" parts[1] ")"
        behind[rules] = parts[3] == "" ? "" : "(" parts[3] ")"
        secret[rules] = before[rules] "(" parts[2] ")" behind[rules]
    }
    if (!rules) {
        print "tagged: " hidden " is not there\n" > "/dev/stderr"
        exit 1
    }
    if (ENVIRON["ANONYMIZE_IP"] == "true") {
        # as nginx names the client in an error
        before[++rules] = "(client: )"
        secret[rules] = before[rules] "[^ ,]+"
    }
}

# keeps secrets out of the log, as common/log.py does
function hide(text,    rule, lower, out, found, start, end, first, last) {
    for (rule = 1; rule <= rules; rule++) {
        out = ""
        lower = tolower(text)
        while (match(lower, secret[rule])) {
            start = RSTART
            end = RSTART + RLENGTH
            found = substr(lower, start, RLENGTH)
            first = before[rule] != "" && match(found, "^" before[rule]) ? RLENGTH : 0
            last = behind[rule] != "" && match(found, behind[rule] "$") ? RLENGTH : 0
            out = out substr(text, 1, start + first - 1) "..." substr(text, end - last, last)
            text = substr(text, end)
            lower = substr(lower, end)
        }
        text = out text
    }
    return text
}

# `text` as it may go to a terminal: bytes that are no text, and control characters, become \xHH
function shown(text,    out) {
    if (text !~ /[^\t\040-\176]/) return text
    while (text != "") {
        if (match(text, harmless)) {
            out = out substr(text, 1, RLENGTH)
            text = substr(text, RLENGTH + 1)
        } else {
            out = out sprintf("\\x%02x", ordinal[substr(text, 1, 1)])
            text = substr(text, 2)
        }
    }
    return out
}

# `text` with what is no UTF-8 replaced
function valid(text,    good) {
    while (text != "") {
        if (match(text, utf8)) {
            good = good substr(text, 1, RLENGTH)
            text = substr(text, RLENGTH + 1)
        } else {
            good = good "\357\277\275"
            text = substr(text, 2)
        }
    }
    return good
}

function escaped(text,    out, character) {
    if (text ~ /[\200-\377]/) text = valid(text)
    while (match(text, /[\001-\037"\\\177]/)) {
        character = substr(text, RSTART, 1)
        out = out substr(text, 1, RSTART - 1) (character ~ /["\\]/ ? "\\" character : sprintf("\\u%04x", ordinal[character]))
        text = substr(text, RSTART + 1)
    }
    return out text
}

# the level, as nginx and Python's logging write it
function level(text) {
    if (text ~ /\[(emerg|alert|crit|error)\]| (ERROR|CRITICAL) |^Traceback /) return "error"
    if (text ~ /\[warn\]| WARNING /) return "warning"
    return "info"
}

function put(text,    severity) {
    if (format == "human") {
        print name " | " shown(hide(text)) "\n"
    } else if (format == "syslog") {
        if (match(text, /^<[0-7]>/)) {
            print substr(text, 1, RLENGTH) name ": " shown(substr(text, RLENGTH + 1)) "\n"
        } else {
            severity = level(text)
            print "<" (severity == "error" ? 3 : severity == "warning" ? 4 : 6) ">" name ": " shown(hide(text)) "\n"
        }
    } else if (text ~ /^\{"time": ".*\}$/) {
        print text "\n"
    } else {
        print "{\"time\": \"" strftime("%Y-%m-%dT%H:%M:%SZ") "\", \"level\": \"" level(text) \
            "\", \"program\": \"" name "\", \"event\": \"output\", \"message\": \"" escaped(hide(text)) "\"}\n"
    }
    fflush()
}

# says what the last second had besides; the last of it, as that is where a traceback names its error
function sum_up() {
    if (more) put("... " more " more lines within a second, the last of them: " latest)
    more = 0
}

most {
    now = systime()
    if (now != second) {
        sum_up()
        second = now
        passed = 0
    }
    if (++passed > most) {
        more++
        latest = $0
        next
    }
}

{ put($0) }

END { sum_up() }
