"""Small programs that define functions, classes, constants or a test."""

from __future__ import annotations

from training.data.draw import Draw
from training.data.phrasing import and_list, say, wordings
from training.data.programs import MAKE, Program, quoted

OPERATIONS = {
    "sum": ("+", ("adds", "sums", "returns the sum of")),
    "product": ("*", ("multiplies", "returns the product of")),
    "difference": ("-", ("subtracts", "returns the difference of")),
    "quotient": ("/", ("divides", "returns the quotient of")),
}


BODIES = (
    ("returns {a}", "return {a}"),
    ("prints {a}", "print({a})"),
    ("returns {a} times two", "return {a} * 2"),
    ("doubles {a}", "return {a} * 2"),
    ("returns the square of {a}", "return {a} * {a}"),
    ("squares {a}", "return {a} * {a}"),
    ("returns the length of {a}", "return len({a})"),
    ("returns {a} in upper case", "return {a}.upper()"),
    ("returns {a} reversed", "return {a}[::-1]"),
    ("returns {a} plus one", "return {a} + 1"),
)
"""What a function of one argument does, in words and as code."""


def function(draw: Draw) -> Program:
    """A function of no, one or two arguments."""
    path, name = draw.path("py"), draw.function_name()
    u = draw.rng.random()
    if u < 0.4:
        return _operation(draw, path)
    argument = draw.noun()
    if u < 0.6:
        return _constant(draw, path, name)
    verb, body = draw.choice(BODIES)
    request = say(
        draw, wordings("programs", "function"), polite=True, f=path, g=name, a=argument, v=verb.replace("{a}", argument)
    )
    lines = [f"def {name}({argument}):", f"    {body.replace('{a}', argument)}"]
    return Program(path, lines, request, f"with the function {name}", f"{name}|{argument}")


def _operation(draw: Draw, path: str) -> Program:
    what = draw.choice(tuple(OPERATIONS))
    sign, verbs = OPERATIONS[what]
    a, b = ("a", "b") if draw.chance(0.6) else (draw.noun(), draw.noun())
    if a == b:
        a, b = "a", "b"
    name = {"sum": "add", "product": "multiply", "difference": "subtract", "quotient": "divide"}[what]
    if draw.chance(0.4):
        name = draw.function_name()
    verb = draw.choice(verbs)
    request = say(draw, wordings("programs", "operation"), polite=True, f=path, g=name, v=verb, a=a, b=b, w=what)
    lines = [f"def {name}({a}, {b}):", f"    return {a} {sign} {b}"]
    return Program(path, lines, request, f"with the function {name}", f"{name}|{a}|{b}")


def _constant(draw: Draw, path: str, name: str) -> Program:
    value = quoted_or_number(draw)
    request = say(draw, wordings("programs", "constant"), polite=True, f=path, g=name, x=value)
    lines = [f"def {name}():", f"    return {value}"]
    return Program(path, lines, request, f"with the function {name}", f"{name}|{value}")


def quoted_or_number(draw: Draw) -> str:
    """A literal: a number, a string in double quotes, or a truth value."""
    u = draw.rng.random()
    return draw.number() if u < 0.5 else f'"{draw.phrase(1, 2)}"' if u < 0.9 else draw.choice(("True", "False"))


def greet_function(draw: Draw) -> Program:
    """A function that greets its argument."""
    path, name = draw.path("py"), draw.choice(("greet", "greet", "say_hello", "welcome", "hello"))
    word = draw.choice(("Hello", "Hi", "Welcome", "Goodbye", "Good morning", "Hey"))
    request = say(draw, wordings("programs", "greet_function"), polite=True, f=path, g=name, w=word)
    lines = [f"def {name}(name):", f'    print(f"{word}, {{name}}!")']
    return Program(path, lines, request, f"with the function {name}", f"{name}|{word}")


def data_class(draw: Draw) -> Program:
    """A class with fields."""
    path, name = draw.path("py"), draw.class_name()
    fields = list(dict.fromkeys(draw.noun() for _ in range(draw.between(1, 4))))
    request = say(
        draw,
        wordings("programs", "data_class"),
        polite=True,
        f=path,
        c=name,
        x=and_list(fields) if draw.chance(0.8) else ", ".join(fields),
    )
    lines = [f"class {name}:", f"    def __init__(self, {', '.join(fields)}):"]
    lines += [f"        self.{field} = {field}" for field in fields]
    return Program(path, lines, request, f"with the class {name}", f"{name}|{fields}")


def class_with_method(draw: Draw) -> Program:
    """A class with one method that prints."""
    path, name, method = draw.path("py"), draw.class_name(), draw.function_name()
    if draw.chance(0.4):
        name, method = draw.choice(
            (("Dog", "bark"), ("Cat", "meow"), ("Car", "drive"), ("Bird", "fly"), ("Person", "speak"))
        )
    text = draw.message() if draw.chance(0.6) else draw.short_word()
    request = say(
        draw, wordings("programs", "class_with_method"), polite=True, f=path, c=name, m=method, x=quoted(draw, text)
    )
    lines = [f"class {name}:", f"    def {method}(self):", f'        print("{text}")']
    return Program(path, lines, request, f"with the class {name}", f"{name}|{method}|{text}")


def variables(draw: Draw) -> Program:
    """A Python file with constants."""
    path = draw.path("py")
    pairs = {draw.identifier(): quoted_or_number(draw) for _ in range(draw.between(1, 3))}
    link = draw.choice((" = ", " = ", " set to ", "="))
    request = say(
        draw,
        (
            f"{MAKE} {{f}} with {{x}}",
            f"{MAKE} {{f}} [with the variables|defining|that sets|that defines] {{x}}",
            f"{MAKE} {{f}} with [a variable|the variable] {{x}}" if len(pairs) == 1 else f"{MAKE} {{f}} with {{x}}",
        ),
        polite=True,
        f=path,
        x=and_list([f"{k}{link}{v}" for k, v in pairs.items()]),
    )
    names = and_list(list(pairs))
    return Program(path, [f"{k} = {v}" for k, v in pairs.items()], request, f"with {names}", str(pairs))


def pytest_test(draw: Draw) -> Program:
    """A test of one call."""
    module, name = draw.stem().replace("-", "_"), draw.function_name()
    path = f"test_{module}.py" if draw.chance(0.7) else f"tests/test_{module}.py"
    arguments = ", ".join(draw.number() for _ in range(draw.between(1, 2)))
    expected = draw.number()
    request = say(
        draw, wordings("programs", "pytest_test"), polite=True, f=path, g=name, a=arguments, m=module, e=expected
    )
    lines = [f"from {module} import {name}", "", "", f"def test_{name}():"]
    lines += [f"    assert {name}({arguments}) == {expected}"]
    return Program(path, lines, request, f"that tests {name}", f"{module}|{name}|{arguments}")


def condition(draw: Draw) -> Program:
    """Compare a number and print one of two words."""
    path, name, limit = draw.path("py"), draw.noun(), draw.number()
    yes, no = draw.choice((("big", "small"), ("yes", "no"), ("high", "low"), ("pass", "fail"), ("old", "young")))
    request = say(draw, wordings("programs", "condition"), polite=True, f=path, n=name, l=limit, y=yes, o=no)
    lines = [f"def check({name}):", f"    if {name} > {limit}:", f'        print("{yes}")', "    else:"]
    lines += [f'        print("{no}")']
    return Program(path, lines, request, "with the function check", f"{name}|{limit}")
