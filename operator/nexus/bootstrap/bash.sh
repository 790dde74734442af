# The bootstrap of bash tasks: bash -c TEXT nexus COMMAND. Runs the user's command in a bash of its own, so that its
# exit, traps and options are its own, and tells what it wrote to $NEXUS_OUTPUT. Needs bash, coreutils and gzip.
set -uo pipefail
shopt -s nullglob
# Variables of this script start with nexus_: one that the task's env exports must not change its value.
nexus_dir=${NEXUS_DIR:-/nexus}
nexus_log=${NEXUS_TERMINATION_LOG:-/dev/termination-log}
nexus_message_limit=4096 # bytes of a termination message that the kubelet keeps
nexus_output_limit=1048576 # bytes; the JSON that the operator makes of the lines may have half of it

# tell TEXT...: the termination message. Its texts hold no quotes and no backslashes, so they are JSON as they stand.
tell() {
    printf '%s' "$@" >"$nexus_log" && return
    printf 'nexus: the outcome cannot be written to %s\n' "$nexus_log" >&2
    return 1
}
# refuse CODE KEY VALUE MESSAGE
refuse() {
    printf 'nexus: %s: %s\n' "$3" "$4" >&2
    tell "{\"error\":{\"$2\":\"$3\",\"message\":\"$4\"}}"
    exit "$1"
}

# own_files: copies what came in ConfigMaps, which others may write, and holds it against the hashes, which come in the
# Job. What is mounted may change at any moment: from here on the copies are the files. An output that an older version
# of the operator stored has no hash, nor has a file of a local run.
own_files() {
    local known file found
    [[ -n ${NEXUS_SHA256SUMS:-} ]] || return 0
    mkdir -p "$nexus_work/files/input" || return
    for file in "$nexus_dir"/input/*.json; do
        cat -- "$file" >"$nexus_work/files/input/${file##*/}" || return
    done
    while read -r known file; do
        [[ -n $file ]] || continue
        [[ $file == input/* ]] || cat -- "$nexus_dir/$file" >"$nexus_work/files/$file" || return
        found=$(sha256sum <"$nexus_work/files/$file") || return
        [[ ${found%% *} == "$known" ]] || refuse 240 reason ContentChanged \
            "the file $file does not hold what was stored for this task; its ConfigMap was changed by another client; find out who writes \
ConfigMaps in the namespace, then run again"
    done <<<"$NEXUS_SHA256SUMS"
    nexus_dir=$nexus_work/files
}

# splice TEXT: the context with the inputs that came as files; "input" is its last key, so TEXT ends in }}.
splice() {
    local files=("$nexus_dir"/input/*.json "${NEXUS_ARTIFACTS:-/nexus}"/.nexus/input/*.json) text=$1 file name comma=,
    if ((${#files[@]} == 0)); then
        printf '%s\n' "$text"
        return
    fi
    text=${text%\}\}}
    [[ $text == *\{ ]] && comma=
    printf '%s' "$text"
    for file in "${files[@]}"; do
        name=${file##*/}
        printf '%s"%s":' "$comma" "${name%.json}"
        cat -- "$file" || return
        comma=,
    done
    printf '}}\n'
}

# own_item TEXT: sets nexus_context to the context with item and index in front, where this pod is one of a fan-out's,
# and exports ITEM and INDEX. A line of the file: the item as JSON, a tab, and for a string = and its text for %b.
own_item() {
    local index=${JOB_COMPLETION_INDEX:-} line=() rest
    nexus_context=$1
    [[ -n $index && -f $nexus_dir/items ]] || return 0
    mapfile -t -s "$index" -n 1 line <"$nexus_dir/items"
    [[ -n ${line[0]:-} ]] || return 1
    nexus_context="{\"item\":${line[0]%%$'\t'*},\"index\":$index,${1#\{}"
    rest=${line[0]#*$'\t'}
    export INDEX=$index ITEM
    if [[ $rest == =* ]]; then printf -v ITEM %b "${rest#=}"; else ITEM=${line[0]%%$'\t'*}; fi
}

# nexus_output [--json] KEY VALUE: for the command and every bash that it starts, exported below.
nexus_output() {
    local nexus_form='<<' nexus_end=${NEXUS_EOF:?} nexus_entry
    [[ ${1-} != --json ]] || { nexus_form=':<<' && shift; }
    if (($# != 2)) || [[ ! $1 =~ ^[A-Za-z_][A-Za-z0-9_.-]*$ ]]; then
        echo 'nexus_output: expected [--json] KEY VALUE; a key has letters, digits, _, - and ., and starts with a letter' \
            'or _' >&2
        return 2
    fi
    while [[ $2 == *"$nexus_end"* ]]; do nexus_end+=$RANDOM; done
    nexus_entry=$NEXUS_OUTPUT.$BASHPID.$RANDOM
    # bash writes line by line: several that run at the same time would mix theirs. dd appends all of it in one write.
    # The empty line is for a last line without an end.
    printf '\n%s%s%s\n%s\n%s\n' "$1" "$nexus_form" "$nexus_end" "$2" "$nexus_end" >|"$nexus_entry" &&
        dd bs=2097152 <"$nexus_entry" >>"$NEXUS_OUTPUT" 2>/dev/null && rm -f -- "$nexus_entry" && return
    echo 'nexus_output: the value could not be appended to $NEXUS_OUTPUT' >&2
    return 1
}

explain() {
    case $1 in
    126) echo 'a command in the script cannot be executed (is it a directory, or not executable?)' ;;
    127) echo 'a command in the script was not found' ;;
    240) echo 'it is reserved for a refused output and never retried; use another exit code' ;;
    137) echo 'killed by SIGKILL, most often for using more memory than its limit' ;;
    *) if (($1 > 128)) && kill -l "$(($1 - 128))" >/dev/null 2>&1; then
        echo "killed by SIG$(kill -l "$(($1 - 128))")"
    else
        echo 'see the log of the task for the cause'
    fi ;;
    esac
}

# publish FILE: what the command appended to it, in the message or, where that is too small, as a frame in the log.
publish() {
    local size sum encoded
    [[ -f $1 && -r $1 ]] || refuse 240 reason InvalidOutput \
        'the file $NEXUS_OUTPUT was removed or replaced; append lines to it with >>'
    size=$(($(wc -c <"$1")))
    if ((size > nexus_output_limit)); then
        refuse 240 reason OutputTooLarge "the output exceeds the limit ($size bytes of lines, limit $nexus_output_limit); write the data \
to an artifact, or to a file store and output where it is"
    fi
    # A copy, for a process that the command left behind may still append to it.
    cat -- "$1" >"$nexus_work/told" || refuse 1 type BootstrapError 'the file $NEXUS_OUTPUT could not be read'
    set -- "$nexus_work/told"
    size=$(($(wc -c <"$1")))
    if ((size + ${#size} + 11 <= nexus_message_limit)); then # 11: {"lines":} and a newline
        tell "$(printf '{"lines":%d}' "$size")" $'\n' || exit 1
        cat -- "$1" >>"$nexus_log" || exit 1
        return
    fi
    encoded=$(gzip -c <"$1" | base64 | tr -d '\n') && sum=$(sha256sum <"$1") ||
        refuse 1 type BootstrapError 'an output above 4 KiB requires gzip, base64 and sha256sum in the image'
    printf '\nNEXUS-OUTPUT %s\n' "$encoded" ||
        refuse 1 type BootstrapError 'the output could not be written to standard output'
    tell "{\"frame\":{\"size\":$size,\"sha256\":\"${sum%% *}\",\"format\":\"lines\"}}" || exit 1
}

nexus_work=$(mktemp -d "${TMPDIR:-/tmp}/nexus.XXXXXXXX") ||
    refuse 1 type BootstrapError 'cannot create a temporary directory; TMPDIR (default /tmp) must be writable'
trap 'rm -rf -- "$nexus_work"' EXIT
# A signal that comes before the command has started ends the task; later it is the command's to answer.
nexus_interrupted=
trap 'nexus_interrupted=1; if [[ -n ${!:-} ]]; then kill -TERM "$!" 2>/dev/null; else exit 143; fi' TERM INT HUP

own_files || refuse 1 type BootstrapError 'a file of the task could not be read, copied to TMPDIR, or hashed (sha256sum)'
export NEXUS_ATTEMPT=$((${NEXUS_ATTEMPT:-1} + ${NEXUS_FAILED_ATTEMPTS:-0}))
unset NEXUS_FAILED_ATTEMPTS
nexus_context=${NEXUS_CONTEXT_JSON:-}
{ [[ -n $nexus_context ]] || nexus_context=$(<"$nexus_dir/context.json"); } && own_item "$nexus_context" &&
    nexus_context="{\"attempt\":$NEXUS_ATTEMPT,${nexus_context#\{}" && splice "$nexus_context" >"$nexus_work/context.json" ||
    refuse 1 type BootstrapError 'the context or an input could not be read: only Nexus starts this script'
: >"$nexus_work/output"
export NEXUS_CONTEXT=$nexus_work/context.json NEXUS_OUTPUT=$nexus_work/output NEXUS_EOF
# Nobody who gives a task its values can know it. Outside of Linux the name of the folder is as random.
{ read -r NEXUS_EOF </proc/sys/kernel/random/uuid; } 2>/dev/null || NEXUS_EOF=${nexus_work##*.}$RANDOM$RANDOM
NEXUS_EOF=EOF_$NEXUS_EOF
export -f nexus_output
unset NEXUS_CONTEXT_JSON NEXUS_TASK_JSON NEXUS_ITEM_FIELDS NEXUS_SHA256SUMS

# In the background, because bash answers a signal only once a command in the foreground has ended.
if (($# > 0)); then
    "${BASH:-bash}" -euo pipefail -c "$1" nexus &
else
    "${BASH:-bash}" -euo pipefail "$nexus_dir/command" &
fi
while :; do
    nexus_interrupted=
    wait "$!"
    nexus_status=$?
    [[ -n $nexus_interrupted ]] || break
done
# Bash (5.2) forgets the status of a command that ends while it answers a signal itself; wait gives -1 then.
((nexus_status >= 0)) || nexus_status=143
if ((nexus_status == 0)); then
    publish "$NEXUS_OUTPUT"
else
    tell "{\"error\":{\"type\":\"ExitCode\",\"message\":\"exit status $nexus_status: $(explain "$nexus_status")\"}}"
fi
exit "$nexus_status"
