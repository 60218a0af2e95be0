"""The command `completion`: a script by which a shell completes the commands, made of the commands themselves.

Completing starts no program: the script holds all words. Click's own would start Python at each press of Tab.
"""

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import click

from actions_cache_cli.console import write
from actions_cache_cli.doctor.__main__ import argument_parser

DOCTOR = "doctor"
"""Path of the command whose options are argparse's; `actions-cache-doctor` is completed like it."""


@dataclass(frozen=True)
class Option:
    names: tuple[str, ...]
    about: str
    takes_value: bool
    values: tuple[str, ...] = ()
    is_directory: bool = False


@dataclass(frozen=True)
class Place:
    """Lists the words that may follow a command, such as `dlq show`.

    Args:
        path: The command; empty for the program itself.
        commands: Its subcommands, each with its short help.
        values: Values of its first argument; empty if it takes any text.
        options: Its options.
    """

    path: str
    commands: Mapping[str, str]
    values: tuple[str, ...]
    options: tuple[Option, ...]

    @property
    def offered(self) -> Iterator[tuple[str, str]]:
        """Yield each word that is offered here, with its short help."""
        yield from self.commands.items()
        yield from ((value, "") for value in self.values)
        yield from ((name, option.about) for option in self.options for name in option.names)


def places(command: click.Command, path: str = "", above: click.Context | None = None) -> Iterator[Place]:
    """Return the command's place, and those of all commands below it."""
    context = click.Context(command, above, **command.context_settings)
    below = getattr(command, "commands", {})
    shown = {word: it for word, it in sorted(below.items()) if not it.hidden}
    parameters = command.get_params(context)
    options = doctors_options() if path == DOCTOR else [option_of(it) for it in parameters if is_option(it)]
    values = next((choices(it) for it in parameters if not is_option(it)), ())
    yield Place(path, {word: it.get_short_help_str(80) for word, it in shown.items()}, values, tuple(options))
    for word, it in shown.items():
        yield from places(it, f"{path} {word}".strip(), context)


def is_option(parameter: click.Parameter) -> bool:
    return isinstance(parameter, click.Option)


def choices(parameter: click.Parameter) -> tuple[str, ...]:
    return tuple(parameter.type.choices) if isinstance(parameter.type, click.Choice) else ()


def option_of(parameter: click.Parameter) -> Option:
    about = str(getattr(parameter, "help", None) or "")
    is_flag = bool(getattr(parameter, "is_flag", False))
    return Option(tuple(parameter.opts), about, not is_flag, choices(parameter))


def doctors_options() -> list[Option]:
    return [
        Option(tuple(it.option_strings), it.help or "", it.nargs != 0, is_directory=it.metavar == "DIR")
        for it in argument_parser()._actions  # noqa: SLF001 - argparse has no other way to ask for them
    ]


def first_sentence(about: str) -> str:
    return about.split(". ", maxsplit=1)[0].rstrip(".")


def _steps(all_places: Iterable[Place]) -> list[str]:
    """Return each place and a word that leads on from it."""
    return [f"{place.path} {word}" for place in all_places for word in place.commands]


def _pattern(words: Iterable[str]) -> str:
    return "|".join(map(shlex.quote, words))


def _answers(all_places: Iterable[Place], answer: Callable[[Option], str]) -> str:
    """Return the cases of a place and an option before a value, with what the shell offers for it."""
    before: dict[str, list[str]] = {}
    for place in all_places:
        for option in place.options:
            if option.takes_value:
                before.setdefault(answer(option), []).extend(f"{place.path} {name}" for name in option.names)
    return "\n".join(f"        {_pattern(words)}) {said} ;;" for said, words in before.items())


BASH = r"""_actions_cache() {{
    local at="" word current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}"
    [[ $previous == = ]] && previous="${{COMP_WORDS[COMP_CWORD-2]}}"
    [[ $current == = ]] && current=""
    [[ ${{COMP_WORDS[0]}} == *actions-cache-doctor ]] && at=doctor
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$at $word" in
            {steps}) at="${{at:+$at }}$word" ;;
        esac
    done
    COMPREPLY=()
    case "$at $previous" in
{answers}
    esac
    case "$at" in
{offers}
    esac
}}
complete -F _actions_cache actions-cache actions-cache-doctor
"""


def in_bash(all_places: list[Place]) -> str:
    def reply(by: str) -> str:
        return f'COMPREPLY=($(compgen {by} -- "$current"))'

    def of_words(words: Iterable[str]) -> str:
        return reply(f"-W {shlex.quote(' '.join(words))}")

    def answer(option: Option) -> str:
        by = reply("-d") if option.is_directory else of_words(option.values) if option.values else ""
        return f"{by}; return" if by else "return"

    return BASH.format(
        steps=_pattern(_steps(all_places)),
        answers=_answers(all_places, answer),
        offers="\n".join(
            f"        {shlex.quote(place.path)}) {of_words(word for word, _ in place.offered)} ;;"
            for place in all_places
        ),
    )


ZSH = r"""#compdef actions-cache actions-cache-doctor
_actions_cache() {{
    local at="" word
    local -a offered
    [[ ${{words[1]}} == *actions-cache-doctor ]] && at=doctor
    for word in "${{(@)words[2,CURRENT-1]}}"; do
        case "$at $word" in
            {steps}) at="${{at:+$at }}$word" ;;
        esac
    done
    case "$at ${{words[CURRENT-1]}}" in
{answers}
    esac
    case "$at" in
{offers}
    esac
    _describe -V actions-cache offered
}}
if [[ ${{funcstack[1]}} == _actions_cache ]]; then
    _actions_cache "$@"
else
    compdef _actions_cache actions-cache actions-cache-doctor
fi
"""


def in_zsh(all_places: list[Place]) -> str:
    def answer(option: Option) -> str:
        if option.is_directory:
            return "_files -/; return"
        return f"compadd -- {' '.join(option.values)}; return" if option.values else "return"

    def described(word: str, about: str) -> str:
        return shlex.quote(f"{word}:{first_sentence(about)}".rstrip(":"))

    return ZSH.format(
        steps=_pattern(_steps(all_places)),
        answers=_answers(all_places, answer),
        offers="\n".join(
            f"        {shlex.quote(place.path)}) offered=({' '.join(described(*it) for it in place.offered)}) ;;"
            for place in all_places
        ),
    )


FISH = r"""function __actions_cache_at
    set -l words (commandline -opc)
    set -l at
    string match -q '*actions-cache-doctor' $words[1]; and set at doctor
    for word in $words[2..]
        switch "$at $word"
            case {steps}
                set at (string trim "$at $word")
        end
    end
    test "$at" = "$argv[1]"
end
for program in actions-cache actions-cache-doctor
    complete -c $program -f
{offers}
end
"""


def in_fish(all_places: list[Place]) -> str:
    def quoted(text: str) -> str:
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

    def rules() -> Iterator[str]:
        for place in all_places:
            where = f"complete -c $program -n {quoted(f'__actions_cache_at {quoted(place.path)}')}"
            for word, about in [*place.commands.items(), *((value, "") for value in place.values)]:
                yield f"{where} -a {word} -d {quoted(first_sentence(about))}"
            for option in place.options:
                names = " ".join(f"-l {it[2:]}" if it.startswith("--") else f"-s {it[1:]}" for it in option.names)
                value = ""
                if option.takes_value:
                    by = "(__fish_complete_directories)" if option.is_directory else " ".join(option.values)
                    value = f" -x -a {quoted(by)}" if by else " -x"
                yield f"{where} {names}{value} -d {quoted(first_sentence(option.about))}"

    return FISH.format(
        steps=" ".join(map(quoted, _steps(all_places))), offers="\n".join(f"    {rule}" for rule in rules())
    )


SHELLS: Mapping[str, Callable[[list[Place]], str]] = {"bash": in_bash, "fish": in_fish, "zsh": in_zsh}


@click.command()
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script that completes commands and options in a shell.

    \b
    bash: actions-cache completion bash > ~/.local/share/bash-completion/completions/actions-cache
    zsh:  actions-cache completion zsh > "${fpath[1]}/_actions_cache"
    fish: actions-cache completion fish > ~/.config/fish/completions/actions-cache.fish
    """  # noqa: D301 - \b is what click keeps lines by
    write(SHELLS[shell](list(places(context.find_root().command))).rstrip())
