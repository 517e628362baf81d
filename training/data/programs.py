"""Small programs: those that print, in many languages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from training.data.draw import Draw
from training.data.phrasing import say, wordings

MAKE = "[create|create|create|make|write|add]"


NAMED = "[|a file |a new file |a script |a program |a file called |a python file |a script called |a python script ]"


@dataclass(frozen=True, slots=True)
class Program:
    """A file to create: `purpose` goes on a sentence (`that prints hello`), `key` is what it combines."""

    path: str
    lines: list[str]
    request: str
    purpose: str
    key: str


def quoted(draw: Draw, text: str) -> str:
    """`text` as people put it into a request: mostly bare, sometimes in quotes."""
    u = draw.rng.random()
    return text if u < 0.7 else f'"{text}"' if u < 0.88 else f"'{text}'"


PRINTERS: dict[str, Callable[[str], list[str]]] = {
    "py": lambda x: [f'print("{x}")'],
    "js": lambda x: [f'console.log("{x}");'],
    "ts": lambda x: [f'console.log("{x}");'],
    "sh": lambda x: ["#!/bin/bash", f'echo "{x}"'],
    "rb": lambda x: [f'puts "{x}"'],
    "php": lambda x: ["<?php", f'echo "{x}\\n";'],
    "lua": lambda x: [f'print("{x}")'],
    "pl": lambda x: [f'print "{x}\\n";'],
    "c": lambda x: ["#include <stdio.h>", "", "int main(void) {", f'    printf("{x}\\n");', "    return 0;", "}"],
    "cpp": lambda x: ["#include <iostream>", "", "int main() {", f'    std::cout << "{x}" << std::endl;', "}"],
    "rs": lambda x: ["fn main() {", f'    println!("{x}");', "}"],
    "go": lambda x: ["package main", "", 'import "fmt"', "", "func main() {", f'    fmt.Println("{x}")', "}"],
    "java": lambda x: [
        "public class Main {",
        "    public static void main(String[] args) {",
        f'        System.out.println("{x}");',
        "    }",
        "}",
    ],
}


LANGUAGES = {
    "py": ("python",),
    "js": ("javascript", "js", "node"),
    "ts": ("typescript",),
    "sh": ("bash", "shell"),
    "rb": ("ruby",),
    "php": ("php",),
    "lua": ("lua",),
    "pl": ("perl",),
    "c": ("c",),
    "cpp": ("c++", "cpp"),
    "rs": ("rust",),
    "go": ("go", "golang"),
    "java": ("java",),
}


def default_path(language: str, text: str) -> str:
    """Where a program goes when nobody said: hello.* for greetings, main.* for the rest."""
    if language == "java":
        return "Main.java"
    return f"{'hello' if text.lower().startswith('hello') else 'main'}.{language}"


def print_text(draw: Draw) -> Program:
    """The first program of everybody: print a text."""
    text = draw.choice(("hello", "hello", "hello world", "Hello World", "Hello, World!", "hello world!", "hi"))
    if draw.chance(0.85):
        text = draw.message()
    language = "py" if draw.chance(0.72) else draw.choice(tuple(PRINTERS))
    if draw.chance(0.25):
        return _print_unnamed(draw, language, text)
    path = draw.path(language) if language != "java" else "Main.java"
    if draw.chance(0.4 if text.lower().startswith(("hello", "hi")) else 0.08):
        path = f"hello.{language}" if language != "java" else path
    request = say(draw, wordings("programs", "print_text"), polite=True, f=path, x=quoted(draw, text))
    return Program(path, PRINTERS[language](text), request, f"that prints {text}", text)


def _print_unnamed(draw: Draw, language: str, text: str) -> Program:
    word = draw.choice(LANGUAGES[language])
    if draw.chance(0.35):
        text = "Hello, world!"
        templates = wordings("programs", "hello_world")
        if language == "py" and draw.chance(0.5):
            word, templates = "", wordings("programs", "hello_world_in_python")
    else:
        templates = wordings("programs", "print_unnamed")
        if language == "py" and draw.chance(0.5):
            word, templates = "", (f"{MAKE} a [script|program] that prints {{x}}", f"{MAKE} a program to print {{x}}")
        if language == "py":
            templates = (*templates, f"{MAKE} a [script|program] that prints {{x}}")
    path = default_path(language, text)
    request = say(draw, templates, polite=True, l=word, x=quoted(draw, text))
    return Program(path, PRINTERS[language](text), request, f"that prints {text}", f"{word}|{text}")


def print_many(draw: Draw) -> Program:
    """Print a text several times, or a range of numbers."""
    path = draw.path("py")
    if draw.chance(0.5):
        text, count = draw.message(), str(draw.between(2, 20) if draw.chance(0.8) else draw.between(21, 500))
        request = say(draw, wordings("programs", "repeat"), polite=True, f=path, x=quoted(draw, text), n=count)
        lines = [f"for _ in range({count}):", f'    print("{text}")']
        return Program(path, lines, request, f"that prints {text} {count} times", f"{text}|{count}")
    low, high = draw.choice((0, 1, 1, 1, 5, 10)), draw.choice((3, 5, 10, 10, 20, 30, 50, 99, 100, 1000))
    high = max(high, low + 2) if draw.chance(0.7) else low + draw.between(2, 60)
    if draw.chance(0.3):
        path = "count.py"
        request = say(draw, wordings("programs", "count_unnamed"), polite=True, a=str(low), b=str(high))
        return Program(
            path, _count_lines(low, high), request, f"that prints the numbers from {low} to {high}", f"{low}-{high}"
        )
    request = say(draw, wordings("programs", "count_range"), polite=True, f=path, a=str(low), b=str(high))
    return Program(
        path, _count_lines(low, high), request, f"that prints the numbers from {low} to {high}", f"{low}-{high}"
    )


def _count_lines(low: int, high: int) -> list[str]:
    # The sum is left to Python: a tiny model copies the last number better than it adds one to it.
    return [f"for number in range({low}, {high} + 1):", "    print(number)"]
