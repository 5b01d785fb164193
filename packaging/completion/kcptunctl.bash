# packaging/completion/kcptunctl.bash - completion of kcptunctl's command line for bash: what may stand there is asked of the
# program itself.
_kcptunctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} head='' line
    local -a options=() words=() offered=()
    local i=1 end=$COMP_CWORD

    COMPREPLY=()
    # readline takes NAME=VALUE for three words, and replaces the last one alone
    if [[ $cur == '=' ]]; then
        head=$prev= cur='' end=$((COMP_CWORD - 1))
    elif [[ $prev == '=' ]] && ((COMP_CWORD > 2)); then
        head=${COMP_WORDS[COMP_CWORD - 2]}= end=$((COMP_CWORD - 2))
    fi
    if [[ $prev == -s || $prev == --socket || $head == --socket= ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return
    fi
    if [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W '--socket --json --count --server --client --help --version' -- "$cur")
        return
    fi
    while ((i < end)); do # the socket matters to what is asked; other options do not
        case ${COMP_WORDS[i]} in
            -s | --socket)
                [[ ${COMP_WORDS[i + 1]} == '=' ]] && ((++i))
                options=(-s "${COMP_WORDS[++i]}")
                ;;
            -n | --count)
                [[ ${COMP_WORDS[i + 1]} == '=' ]] && ((++i))
                ((++i))
                ;;
            -*) ;;
            *) words+=("${COMP_WORDS[i]}") ;;
        esac
        ((++i))
    done
    case ${words[0]-} in
        check | convert | genkey)
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "$cur")
            return
            ;;
    esac
    while IFS= read -r line; do
        line=${line%%$'\t'*}
        [[ $line == "$head$cur"* ]] && offered+=("${line#"$head"}")
    done < <("${COMP_WORDS[0]}" "${options[@]}" --complete "${words[@]}" "$head$cur" 2>/dev/null)
    COMPREPLY=("${offered[@]}")
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
    return 0
}
complete -o nosort -F _kcptunctl kcptunctl 2>/dev/null || complete -F _kcptunctl kcptunctl
