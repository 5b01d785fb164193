# packaging/completion/kcptunctl.bash - completion of kcptunctl's command line for bash: what may stand there is asked of the
# program itself.
_kcptunctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} line
    local -a options=() words=() offered=()
    local i=1

    COMPREPLY=()
    if [[ $prev == -s || $prev == --socket ]]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return
    fi
    if [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W '--socket --json --count --server --client --help --version' -- "$cur")
        return
    fi
    while ((i < COMP_CWORD)); do # the socket matters to what is asked; other options do not
        case ${COMP_WORDS[i]} in
            -s | --socket) options=(-s "${COMP_WORDS[++i]}") ;;
            -n | --count) ((++i)) ;;
            -*) ;;
            *) words+=("${COMP_WORDS[i]}") ;;
        esac
        ((++i))
    done
    case ${words[0]-} in
        check | convert | genkey)
            mapfile -t COMPREPLY < <(compgen -f -- "$cur")
            return
            ;;
    esac
    while IFS= read -r line; do
        line=${line%%$'\t'*}
        [[ $line == "$cur"* ]] && offered+=("$line")
    done < <("${COMP_WORDS[0]}" "${options[@]}" --complete "${words[@]}" "$cur" 2>/dev/null)
    COMPREPLY=("${offered[@]}")
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
    return 0
}
complete -o filenames -o nosort -F _kcptunctl kcptunctl 2>/dev/null || complete -F _kcptunctl kcptunctl
