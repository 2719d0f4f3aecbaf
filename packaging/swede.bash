# SPDX-License-Identifier: Apache-2.0
# bash completion for swede(1)

_swede() {
    local cur prev current previous words cword verb="" word
    if declare -F _init_completion >/dev/null; then
        _init_completion -n = || return
        current=${words[cword]}
        previous=${words[cword - 1]}
    else
        words=("${COMP_WORDS[@]}")
        cword=$COMP_CWORD
        current=${words[cword]}
        previous=${words[cword - 1]}
    fi
    for word in "${words[@]:1:cword-1}"; do
        case $word in device | run | control | devices | doctor) verb=$word && break ;; esac
    done
    case $verb in
    "") COMPREPLY=($(compgen -W "device run control devices doctor --help --version" -- "$current")) ;;
    device)
        case $previous in
        --socket-path | --control-path | --wayland-socket-path) COMPREPLY=($(compgen -f -- "$current")) ;;
        --transport)
            COMPREPLY=($(compgen -W "vfio-user vhost-user vhost-user-gpu local" -- "$current")) ;;
        --gpu) COMPREPLY=($(compgen -W "none pci:" -- "$current")) ;;
        --display) COMPREPLY=($(compgen -W "none png:" -- "$current")) ;;
        --fd | --hostmem | --outputs | --max-*) ;;
        *) COMPREPLY=($(compgen -W "--help --socket-path --fd --transport --hostmem --display
            --outputs --control-path --gpu --cross-domain --wayland-socket-path --max-clients
            --max-host-memory --max-resources --max-contexts --max-backing-segments --max-mappings
            --max-pending-fences --max-pending-commands --max-attachments --max-rings --max-files" -- "$current")) ;;
        esac
        ;;
    run)
        # From the program on, words are completed as without "swede run".
        for word in "${words[@]:2:cword-2}"; do
            case $word in
            --) COMPREPLY=($(compgen -f -c -- "$current")) && return ;;
            esac
        done
        case $previous in
        --socket | --driver | --shim | --wayland-socket-path) COMPREPLY=($(compgen -f -- "$current")) ;;
        --gpu | --max-*) ;;
        *) COMPREPLY=($(compgen -c -W "-- --help --socket --driver --shim --gpu --cross-domain
            --wayland-socket-path --max-clients
            --max-host-memory --max-resources --max-contexts --max-backing-segments --max-mappings
            --max-pending-fences --max-pending-commands --max-attachments --max-rings --max-files" \
            -- "$current")) ;;
        esac
        ;;
    control)
        case $previous in
        control | screenshot) COMPREPLY=($(compgen -f -- "$current")) ;;
        --output) ;;
        *)
            case " ${words[*]:0:cword} " in
            *" screenshot "*) COMPREPLY=($(compgen -W "--output --help" -- "$current")) ;;
            *) COMPREPLY=($(compgen -W "info screenshot resize plug unplug --help" -- "$current")) ;;
            esac
            ;;
        esac
        ;;
    devices | doctor) COMPREPLY=($(compgen -W "--help" -- "$current")) ;;
    esac
}
complete -F _swede swede
