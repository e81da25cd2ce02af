#!/bin/sh
# Verifies this bundle of a journal, every file of it, with stock tools: sha256sum, openssl, jq, ssh-keygen, awk.
# No arguments; run it from its own folder. Exit 0: all of it holds. 1: something does not, and it says what.
# 2: it could not look (a tool is missing). README.md says what is checked, and what no such script can show.
set -u
PATH=/usr/bin:/bin
LC_ALL=C
TZ=UTC
export PATH LC_ALL TZ
unset CDPATH

failures=0
say() { printf '%s\n' "$*" | tr -d '\001-\011\013-\037\177'; } # names come from the journal: no escape reaches the screen
bad() {
    say "BAD  $*"
    failures=$((failures + 1))
}
good() { say "ok   $*"; }
note() { say "note $*"; }
cannot() {
    printf 'cannot verify: %s\n' "$*"
    exit 2
}

for tool in sha256sum openssl jq ssh-keygen awk base64 cmp paste mktemp; do
    command -v "$tool" > /dev/null 2>&1 || cannot "$tool is not in /usr/bin or /bin"
done
openssl version | grep -q -E '^OpenSSL ([3-9]|[1-9][0-9])\.' || cannot "openssl 3.0 or newer is needed, to check Ed25519"
if [ ! -f MANIFEST.sha256 ] || [ ! -d entries ]; then
    cannot "run it from its own folder: cd there, then sh verify.sh"
fi
# Thousands of small files are made on the way: in memory where there is some, or a busy disk takes minutes over them.
work=$(mktemp -d /dev/shm/verify.XXXXXX 2> /dev/null || mktemp -d) || cannot "no room for temporary files"
trap 'rm -rf "$work"' EXIT
trap 'exit 2' HUP INT TERM

# ---- 1. every file is the one that was put in, and there is no other
find . -type f ! -path ./MANIFEST.sha256 ! -path ./MANIFEST.sha256.sig | sed 's,^\./,,' | sort > "$work/there"
cut -c67- MANIFEST.sha256 | sort > "$work/listed"
sha256sum -c MANIFEST.sha256 > "$work/sums" 2>&1
before=$failures
grep -v -E '^[0-9a-f]{64}  [A-Za-z0-9._/-]+$' MANIFEST.sha256 > "$work/odd" && bad "MANIFEST.sha256 has lines that are no sums"
[ "$(tail -c 1 MANIFEST.sha256 | od -An -tx1 | tr -d ' ')" = 0a ] || bad "MANIFEST.sha256 does not end with its last line"
grep -v ': OK$' "$work/sums" > "$work/failed" && while read -r line; do
    bad "a file is not the one that was put in: $line"
done < "$work/failed"
cmp -s "$work/there" "$work/listed" || {
    for name in $(diff "$work/there" "$work/listed" | sed -n 's/^< //p'); do bad "$name is not in the manifest: it was added"; done
    for name in $(diff "$work/there" "$work/listed" | sed -n 's/^> //p'); do bad "$name is in the manifest and not here"; done
}
[ "$(grep -c ': OK$' "$work/sums")" -eq "$(wc -l < "$work/listed")" ] || bad "not every line of MANIFEST.sha256 could be checked"
find . ! -type f ! -type d > "$work/odd"
[ -s "$work/odd" ] && bad "there are links or devices among the files"
[ "$failures" -eq "$before" ] && good "$(wc -l < "$work/listed" | tr -d ' ') files are as listed in MANIFEST.sha256"

# ---- 2. who made the bundle
if [ -f MANIFEST.sha256.sig ]; then
    {
        printf '%s\n' '-----BEGIN SSH SIGNATURE-----'
        sed '1d;$d' MANIFEST.sha256.sig | tr -d '\n' | base64 -d 2> /dev/null | base64 -w 70
        printf '%s\n' '-----END SSH SIGNATURE-----'
    } > "$work/armour"
    if ! cmp -s "$work/armour" MANIFEST.sha256.sig; then
        bad "MANIFEST.sha256.sig is not a signature as ssh-keygen writes it"
    elif ssh-keygen -Y verify -f allowed_signers -I exporter -n rollback-console-bundle -s MANIFEST.sha256.sig \
        < MANIFEST.sha256 > "$work/said" 2>&1; then
        good "MANIFEST.sha256 is signed by whoever exported it: $(sed 's/.* key //' "$work/said")"
    else
        bad "the signature over MANIFEST.sha256 does not hold"
    fi
else
    note "MANIFEST.sha256 is not signed: it guards against accidents, the entries' own signatures against more"
    grep -q '^exporter ' allowed_signers && bad "MANIFEST.sha256.sig is gone: allowed_signers names who signed it"
fi

# ---- 3. the device's key: the first entry's, device.pub and device.pem are one
first=$(find entries -name '*.bodies' | sort | head -n 1)
[ -n "$first" ] || { bad "there are no entries"; exit 1; }
device=$(head -n 1 "$first" | jq -r '.device // empty' 2> /dev/null | cut -d' ' -f1,2)
[ -n "$device" ] && [ "$device" = "$(cut -d' ' -f1,2 < device.pub)" ] || bad "device.pub is not the key in the first entry"
printf '%s' "$device" | cut -d' ' -f2 | base64 -d 2> /dev/null | tail -c 32 > "$work/raw"
openssl pkey -pubin -in device.pem -outform DER 2> /dev/null | tail -c 32 | cmp -s - "$work/raw" \
    || bad "device.pem is not the key in the first entry"
fingerprint=$(ssh-keygen -l -f device.pub 2> /dev/null | cut -d' ' -f2)

# Does the device's signature $2 (base64) fit the hash $1?
signed() {
    printf 'rollback-console/entry/v1\n%s' "$1" > "$work/message"
    printf '%s' "$2" | base64 -d > "$work/signature" 2> /dev/null
    openssl pkeyutl -verify -pubin -inkey device.pem -rawin -in "$work/message" -sigfile "$work/signature" \
        > /dev/null 2>&1
}

# The SHA-256 of every line of $1, without its newline, in order.
sums_of_lines() {
    rm -rf "$work/lines"
    mkdir "$work/lines"
    awk -v folder="$work/lines/" 'BEGIN { ORS = "" } { name = folder sprintf("%07d", NR); print > name; close(name) }' "$1"
    (cd "$work/lines" && find . -type f | sort | xargs sha256sum) | cut -c1-64
}

# ---- 4. people's signatures in the entries of one range: $1 its files, $2 its first number
people=0
unknown=0
tab=$(printf '\t')
persons() {
    grep -n '"person":{' "$1.bodies" > "$work/found" || return 0
    cut -d: -f1 "$work/found" > "$work/numbers"
    # For each: who, the digest, statement and signature, and which texts of the entry are others in the statement.
    cut -d: -f2- "$work/found" | jq -r '
        if (.person | type) != "object" then "" else
        . as $body | .person as $p
        | ($p.statement | (fromjson? // {}) | if type == "object" then . else {} end) as $said
        | [$body | to_entries[] | select((.value | type) == "string" and ($said[.key] | type) == "string")
            | select($said[.key] != .value) | .key] as $others
        | [$p.operator, $p.signed, ($p.statement | @base64), ($p.signature | @base64), ($others | join(", "))] | @tsv
        end' > "$work/signed" 2> /dev/null
    awk 'NR == FNR { wanted[$1]; next } FNR in wanted' "$work/numbers" "$1.envelopes" \
        | jq -r '(.at | tonumber / 1e9 | floor) | strftime("%Y%m%d%H%M%S")' > "$work/times" 2> /dev/null
    if [ "$(wc -l < "$work/signed")" -ne "$(wc -l < "$work/numbers")" ]; then
        bad "people's signatures from entry $2 on cannot be read"
        return 0
    fi
    paste "$work/numbers" "$work/times" "$work/signed" > "$work/persons"
    while IFS=$tab read -r line at operator digest statement signature others; do
        [ -n "$operator" ] || continue # `person` is something else, somewhere in it
        number=$(($2 + line - 1))
        people=$((people + 1))
        printf '%s' "$statement" | base64 -d > "$work/statement" 2> /dev/null
        printf '%s' "$signature" | base64 -d > "$work/person.sig" 2> /dev/null
        sum=$(sha256sum < "$work/statement")
        [ "${sum%% *}" = "$digest" ] || bad "entry $number: what $operator signed is not what the entry says it is"
        [ -z "$others" ] || bad "entry $number: its $others is not what $operator signed"
        if ssh-keygen -Y verify -f allowed_signers -I "$operator" -n rollback-console -O "verify-time=$at" \
            -s "$work/person.sig" < "$work/statement" > /dev/null 2>&1; then
            continue
        elif ssh-keygen -Y check-novalidate -n rollback-console -s "$work/person.sig" < "$work/statement" \
            > "$work/said" 2>&1; then
            if cut -d' ' -f1 allowed_signers | grep -q -x -F -- "$operator"; then
                bad "entry $number: signed by a key that the recorded rosters do not give $operator then"
            else
                unknown=$((unknown + 1))
                [ "$unknown" -le 5 ] && note "entry $number: signed as $operator; no recorded roster has them: $(sed 's/.* key //' "$work/said")"
            fi
        else
            bad "entry $number: the signature of $operator does not hold"
        fi
    done < "$work/persons"
}

# ---- 5. entries: every hash made again, every link to the one before, and signatures
chain=$(jq -r .chain bundle.json 2> /dev/null)
expected=1
previous=
if [ "$(head -n 1 "${first%.bodies}.envelopes" | jq -r .kind 2> /dev/null)" = segment ]; then
    # A file that goes on with a chain: its first entry names the last one of the file before.
    expected=$(head -n 1 "$first" | jq -r '.last_seq + 1' 2> /dev/null)
    previous=$(head -n 1 "$first" | jq -r .last 2> /dev/null)
    note "entries 1 to $((expected - 1)) are in files that are not here: what is here is verified from $expected on"
fi
begin=$expected
checked=0
: > "$work/all"
before=$failures
for envelopes in $(find entries -name '*.envelopes' | sort); do
    stem=${envelopes%.envelopes}
    sums_of_lines "$envelopes" > "$work/hashes"
    sums_of_lines "$stem.bodies" > "$work/bodies"
    count=$(wc -l < "$work/hashes" | tr -d ' ')
    last=$((expected + count - 1))
    { printf '%s\n' "$previous"; sed '$d' "$work/hashes"; } > "$work/links"
    awk -v first="$expected" -v count="$count" 'BEGIN { for (n = 0; n < count; n++) print first + n "\ttrue" }' \
        | paste - "$work/links" "$work/bodies" > "$work/must"
    jq -r --arg chain "$chain" '[.seq, .chain == $chain, .prev, .body] | @tsv' "$envelopes" > "$work/says" 2> /dev/null
    if ! cmp -s "$work/must" "$work/says"; then
        line=$(awk 'NR == FNR { must[NR] = $0; next } must[FNR] != $0 { print FNR; found = 1; exit }
                    END { if (!found) print (NR > FNR && FNR < NR - FNR) ? FNR + 1 : 1 }' "$work/must" "$work/says")
        number=$((expected + line - 1))
        sed -n "${line}p" "$work/must" | tr '\t' '\n' > "$work/a"
        sed -n "${line}p" "$work/says" | tr '\t' '\n' > "$work/b"
        case $(paste "$work/a" "$work/b" | awk -F'\t' '$1 != $2 { print NR; exit }') in
            1) bad "entry $number is not in its place: one was removed, inserted, or moved" ;;
            2) bad "entry $number is of another chain than $chain" ;;
            3) bad "entry $number does not follow the one before: that one, or this one, was changed or taken out" ;;
            4) bad "entry $number: its body is not the one that was signed" ;;
            *) bad "entry $number cannot be read" ;;
        esac
        break
    fi
    [ "$(wc -l < "$stem.signatures" | tr -d ' ')" -eq "$count" ] || bad "$stem.signatures does not have one line an entry"
    paste -d' ' "$work/hashes" "$stem.signatures" | awk -v first="$expected" '{ print first + NR - 1, $0 }' > "$work/look"
    if [ "${EVERY_SIGNATURE:-}" != yes ]; then # the journal's first, and the last of every range: it binds all before it
        sed -n -e '$p' -e "$([ "$last" -gt "$begin" ] && [ "$expected" -eq "$begin" ] && echo 1p)" "$work/look" > "$work/few"
        mv "$work/few" "$work/look"
    fi
    while read -r number hash signature; do
        checked=$((checked + 1))
        signed "$hash" "$signature" || bad "the device did not sign entry $number, or an entry before it, as it stands here"
    done < "$work/look"
    persons "$stem" "$expected"
    cat "$work/hashes" >> "$work/all"
    previous=$(tail -n 1 "$work/hashes")
    expected=$((last + 1))
done
final=$((expected - 1))
entries=$((expected - begin))
if [ "$failures" -eq "$before" ]; then
    [ "$(jq -r '.first, .entries, .head.seq, .head.hash' bundle.json | paste -s -d' ' -)" \
        = "$begin $entries $final $previous" ] \
        || bad "bundle.json names another head: entries were cut off at the end, or added"
    good "$entries entries: every hash made again, every link followed, $checked signatures of the device"
    [ "$people" -gt 0 ] && good "$people signatures of people, $unknown of them by people whom no recorded roster names"
fi

# ---- 6. blobs: samples, policies, rosters, runbooks, plans, by their digests
if [ -d blobs ]; then
    (cd blobs && find . -type f | sed 's,^\./,,' | sort | xargs sha256sum) > "$work/blobs"
    awk '$1 != $2 { print $2 }' "$work/blobs" > "$work/odd"
    while read -r name; do bad "blobs/$name is not what its name says"; done < "$work/odd"
    [ -s "$work/odd" ] || good "$(wc -l < "$work/blobs" | tr -d ' ') blobs are what their names say"
fi

# ---- 7. receipts: a hub saw this head, at this time (RFC 6962 inclusion, C2SP signed checkpoint)
bytes() { env printf "$(printf '%s' "$1" | sed 's/../\\x&/g')"; } # hex to bytes
digest() { sha256sum | cut -c1-64; }
receipt() {
    jq -c .receipt "$1" > "$work/receipt" || return 1
    hash=$(jq -r .hash "$work/receipt")
    number=$(jq -r .seq "$work/receipt")
    [ "$(jq -r .chain "$work/receipt")" = "$chain" ] || { bad "$1 is of another chain"; return 1; }
    if [ "$number" -gt "$final" ]; then
        bad "$1: the hub saw entry $number, and the entries here end at $final: the end was cut off"
        return 1
    elif [ "$number" -lt "$begin" ]; then
        note "$1 is for entry $number, which is not here"
        return 0
    fi
    [ "$(sed -n "$((number - begin + 1))p" "$work/all")" = "$hash" ] || { bad "$1: the hub saw another entry $number"; return 1; }
    leaf=$( { printf '\000rollback-console/head/v1\n'; jq -j -c -S '{at, chain, hash, seq}' "$work/receipt"; } | digest)
    index=$(jq -r .index "$work/receipt")
    jq -r .checkpoint "$work/receipt" > "$work/note"
    size=$(sed -n 2p "$work/note")
    rest=$((size - 1))
    for step in $(jq -r '.proof[]' "$work/receipt"); do
        if [ $((index % 2)) -eq 1 ] || [ "$index" -eq "$rest" ]; then
            leaf=$(bytes "01$step$leaf" | digest)
            while [ $((index % 2)) -eq 0 ] && [ "$index" -ne 0 ]; do index=$((index / 2)); rest=$((rest / 2)); done
        else
            leaf=$(bytes "01$leaf$step" | digest)
        fi
        index=$((index / 2))
        rest=$((rest / 2))
    done
    root=$(sed -n 3p "$work/note" | base64 -d | od -An -v -tx1 | tr -d ' \n')
    [ "$rest" -eq 0 ] && [ "$leaf" = "$root" ] || { bad "$1: its proof does not lead to the checkpoint"; return 1; }
    key=$(jq -r .hub "$1") # name+hash+base64, where base64 has plus signs of its own
    material=${key#*+}
    { bytes 302a300506032b6570032100; printf '%s' "${material#*+}" | base64 -d | tail -c 32; } > "$work/hub.der"
    sed -n '1,/^$/p' "$work/note" | sed '$d' > "$work/message"
    grep -F -- "— ${key%%+*} " "$work/note" | head -n 1 | sed 's/.* //' | base64 -d | tail -c 64 > "$work/signature"
    openssl pkeyutl -verify -pubin -keyform DER -inkey "$work/hub.der" -rawin -in "$work/message" \
        -sigfile "$work/signature" > /dev/null 2>&1 || { bad "$1: the hub's signature does not hold"; return 1; }
    seconds=$(jq -r '(.at | tonumber / 1e9 | floor) | todate' "$work/receipt")
    good "the hub ${key%%+*} saw entry $number at $seconds (its key: $key)"
}
if [ -d receipts ] && [ "$failures" -eq "$before" ]; then
    for file in $(find receipts -type f | sort); do
        before=$failures
        receipt "$file" || { [ "$failures" -gt "$before" ] || bad "$file cannot be read"; }
    done
fi

# ---- 8. what it comes to
if [ "$failures" -gt 0 ]; then
    printf 'NOT OK: %s problems\n' "$failures"
    exit 1
fi
printf 'OK: %s entries of the chain %s\n' "$entries" "$chain"
printf '    head    %s %s\n' "$final" "$previous"
printf '    device  %s (is this the device you expect?)\n' "$fingerprint"
