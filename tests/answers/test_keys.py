r"""Equal answers have equal keys, and different ones have not: a table of hard pairs, each once wrong somewhere."""

import pytest

from mullover.answers import equal, key
from mullover.types import AnswerSpec, Kind

EQUAL: list[tuple[Kind, str, str]] = [
    # whole numbers
    ("number", "005", "5"),
    ("number", "+5", "5"),
    ("number", "-0", "0"),
    ("number", "0.0", "0"),
    ("number", "5.", "5"),
    ("number", "5.0", "5"),
    ("number", " 5 ", "5"),
    ("number", "−5", "-5"),
    ("number", "- 5", "-5"),
    ("number", "５", "5"),
    ("math", "007", "7"),
    ("math", r"\text{13}", "13"),
    ("number", "42\u200b", "42"),
    # decimals and fractions
    ("number", "1.50", "1.5"),
    ("number", "1.5", "3/2"),
    ("number", ".5", "0.5"),
    ("math", "1.50", r"\frac{3}{2}"),
    ("math", r"\frac{1}{2}", "1/2"),
    ("math", r"\dfrac12", r"\tfrac{1}{2}"),
    ("math", r"\frac 1 2", "0.5"),
    ("math", r"\frac9{19}", "9/19"),
    ("math", r"\frac{625}4", "156.25"),
    ("math", "½", r"\frac12"),
    ("number", "3½", "3.5"),
    ("number", "2/4", "1/2"),
    ("math", r"-\frac{1}{2}", r"\frac{-1}{2}"),
    ("math", r"\frac{1}{-2}", "-0.5"),
    ("math", r"0.\overline{3}", "1/3"),
    ("math", r"0.1\overline{6}", r"\frac16"),
    ("number", "3 1/2", "7/2"),
    ("math", r"3\frac{1}{2}", r"\frac{7}{2}"),
    ("math", r"137 \frac{1}{2}", "137.5"),
    ("math", r"-1\frac{4}{5}", "-1.8"),
    ("math", r"\cfrac{25}{16}", "25/16"),
    # percent, money, units
    ("number", "50%", "50"),
    ("math", r"50\%", "50"),
    ("math", r"62.5\%", "62.5%"),
    ("number", "$5", "5"),
    ("math", r"\$5", "5"),
    ("number", "€5.00", "5"),
    ("number", "5 dollars", "5"),
    ("number", "USD 5", "5"),
    ("number", "Rs. 1943.40", "1943.4"),
    ("number", "-$0.50", "-1/2"),
    ("number", "5 cm", "5"),
    ("number", "5cm", "5"),
    ("math", "5 cm", "5"),
    ("math", "5 cm^2", "5"),
    ("math", r"5\text{ cm}", "5"),
    ("math", r"15\mbox{ cm}^2", "15"),
    ("math", r"5\mathrm{~m}", "5"),
    ("math", r"25 \, \text{km}", "25"),
    ("math", r"10\;\text{edges}", "10"),
    ("math", "45 miles per hour", "45"),
    ("math", "12 square units", "12"),
    ("math", "3 km/h", "3"),
    ("number", "5 m", "5"),
    ("number", "42 red apples", "42"),
    ("math", r"90^\circ", "90"),
    ("math", r"90^{\circ}", "90 degrees"),
    ("math", "90°", "90"),
    ("math", r"\frac{68}{3}\text{ pounds}", "68/3"),
    ("math", r"3.25\text{ dollars}", "13/4"),
    ("math", r"18\text{ ways.}", "18"),
    # thousands
    ("number", "1,000", "1000"),
    ("number", "1,234,567.50", "1234567.5"),
    ("math", "1{,}000", "1000"),
    ("math", r"1\,000", "1000"),
    ("math", r"10,\!236", "10236"),
    ("math", r"111, \! 111, \! 111", "111111111"),
    ("number", "1\u202f000", "1000"),
    ("number", "1\u00a0000", "1000"),
    ("number", "1\u2009000\u2009000", "1000000"),
    ("number", "1 000", "1000"),
    ("math", r"\frac{12}{5,\!525}", "12/5525"),
    # scientific
    ("number", "1e3", "1000"),
    ("number", "2.5E-3", "0.0025"),
    ("math", r"1 \times 10^{3}", "1000"),
    ("math", r"4.5 \times 10^{33}", "4.5e33"),
    ("math", "6.02×10^23", r"6.02\cdot 10^{23}"),
    ("math", "1e999999999", r"10^{999999999}"),
    # words
    ("number", "five", "5"),
    ("number", "Twenty-five", "25"),
    ("number", "one hundred and five", "105"),
    ("number", "3 million", "3,000,000"),
    ("math", "2.5 million", "2500000"),
    ("number", "a dozen apples", "a dozen apples"),
    # spacing, sizes, wrappers
    ("math", "$x+1$", "x + 1"),
    ("math", r"\(x+1\)", "1+x"),
    ("math", r"\displaystyle\frac{1}{2}", "1/2"),
    ("math", r"\left(\frac34,5\right)", "(0.75, 5)"),
    ("math", r"\!\sqrt{33}", r"\sqrt{33}"),
    ("math", r"\boxed{7}", "7"),
    ("math", "**7**", "7"),
    ("math", "7.", "7"),
    # assignments and membership
    ("math", "x = 5", "5"),
    ("math", "x=5", "5"),
    ("math", r"k = \frac{1}{2}", "0.5"),
    ("math", "f(x) = x + 22", "x+22"),
    ("math", "total cost = 42", "42"),
    ("math", r"\text{Area} = 42", "42"),
    ("math", "3 + 4 = 7", "7"),
    ("math", r"x \in [-2,7]", "[-2,7]"),
    ("math", "m_{\\max} = n^2", "n^{2}"),
    # roots, powers and constants
    ("math", r"2\sqrt{3}", r"\sqrt{12}"),
    ("math", r"2\sqrt3", r"2 \cdot \sqrt{3}"),
    ("math", r"\frac{\sqrt{3}}{2}", r"\sqrt{3}/2"),
    ("math", r"\frac{1}{\sqrt{3}}", r"\frac{\sqrt{3}}{3}"),
    ("math", r"\frac{2}{1+\sqrt{3}}", r"\sqrt{3}-1"),
    ("math", r"\sqrt{2}\sqrt{3}", r"\sqrt{6}"),
    ("math", r"\sqrt{\frac{95}{24}}", r"\frac{\sqrt{570}}{12}"),
    ("math", r"\sqrt[3]{8}", "2"),
    ("math", r"\sqrt[3]{-27}", "-3"),
    ("math", r"5 \sqrt[3]{4}", r"5 \cdot 4^{1/3}"),
    ("math", r"\sqrt{-4}", "2i"),
    ("math", "√3", r"\sqrt{3}"),
    ("math", "sqrt(3)/2", r"\frac{\sqrt3}{2}"),
    ("math", "2^{10}", "1024"),
    ("math", "2**10", "2^{10}"),
    ("math", r"\frac{2^k}{2}", "2^{k-1}"),
    ("math", "4^k", "2^{2k}"),
    ("math", "9^{9^{9^9}}", "9^{9^{9^{9}}}"),
    ("math", "26!", "403291461126605635584000000"),
    ("math", r"\binom{5}{2}", "10"),
    ("math", r"\frac{3\pi}{4}", "0.75π"),
    ("math", r"\frac{2}{3}\pi", r"\frac{2\pi}{3}"),
    ("math", r"\pi/4", r"\frac \pi4"),
    # algebra
    ("math", "x^2+2x+1", "1+2x+x^2"),
    ("math", "(x+1)^2", "x^2+2x+1"),
    ("math", "3(x-2)(x+1)", "3x^2-3x-6"),
    ("math", r"\frac{x+2}{7}", "(x+2)/7"),
    ("math", r"\frac{1}{2x+2}", r"\frac{1}{2(x+1)}"),
    ("math", r"\frac{2x-7}{(x+1)(x-2)}", r"\frac{2x-7}{x^2-x-2}"),
    ("math", "xy", "yx"),
    ("math", "-x + y", "y - x"),
    ("math", r"36x \sqrt{35x}", r"36\sqrt{35}x^{3/2}"),
    ("math", r"e^{-2t}/3", r"\frac{1}{3e^{2t}}"),
    ("math", "i^2", "-1"),
    ("math", r"\frac{1}{1+2i}", r"\frac15 - \frac25 i"),
    ("math", r"\sin^2 x", r"(\sin x)^2"),
    ("math", r"\sin 3x", r"\sin(3x)"),
    ("math", r"\log_{2} n", r"\log_2(n)"),
    ("math", r"4x - 5y = -50", "5y = 4x + 50"),
    ("math", r"2x = 4y", "x - 2y = 0"),
    ("math", r"k \geqslant 2", r"2 \le k"),
    ("math", "x_1", "x_{1}"),
    ("math", "52_8", "52_{8}"),
    ("math", "25_{10}", "25"),
    # tuples, intervals, sets, matrices, lists
    ("math", "(1,2)", "(1, 2)"),
    ("math", r"(3, \frac{\pi}{2})", r"\left( 3, \pi/2 \right)"),
    ("math", r"(-\infty, 2]", r"(-oo,2]"),
    ("math", r"(-\infty,0)\cup(0,\infty)", r"(0,\infty) \cup (-\infty, 0)"),
    ("math", r"\{1,2\}", r"\{2,1\}"),
    ("math", r"\left\{1, 2\right\}", "1, 2"),
    ("math", "1, 2", "2,1"),
    ("math", r"12\text{ and }13", "12, 13"),
    ("math", r"7, -2, \text{ and } -5", "-5,-2,7"),
    ("math", "3 and 5", "3,5"),
    ("math", r"1 \pm \sqrt{19}", r"1+\sqrt{19}, 1-\sqrt{19}"),
    ("math", r"\frac{-1\pm\sqrt{17}}{2}", r"\frac{-1-\sqrt{17}}{2}, \frac{-1+\sqrt{17}}{2}"),
    ("math", "x = 1, x = -2", "-2, 1"),
    ("math", r"\begin{pmatrix} 1/5 \\ -3/5 \end{pmatrix}", r"\begin{bmatrix}\frac15\\-\frac35\end{bmatrix}"),
    ("math", r"\begin{array}{cc}1&2\\3&4\end{array}", r"\begin{pmatrix}1&2\\3&4\\\end{pmatrix}"),
    # names
    ("math", r"\text{Evelyn}", "Evelyn"),
    ("math", r"\text{Evelyn}", "evelyn"),
    ("math", r"\text{(C)}", "C"),
    ("math", r"\mbox{Saturday}", "Saturday"),
    ("math", r"\text{June 20}", "June 20"),
    ("math", r"\text{A,D}", "A, D"),
    ("math", r"\text{Yes}", "yes"),
    # as models write
    ("math", "7 (seven)", "7"),
    ("math", r"\textbf{(B) } 42", "42"),
    ("math", "5~cm", "5"),
    ("math", "5 °C", "5"),
    ("math", r"5^\circ\text{C}", "5"),
    ("math", "5 percent", "5"),
    ("math", "infinity", r"\infty"),
    ("math", r"\;7\;", "7"),
    ("math", "2x + 3 = y", "y = 3 + 2x"),
    ("math", r"\frac{x^2}{16} - \frac{y^2}{9} = 1", "9x^2 - 16y^2 = 144"),
    ("math", r"\{x : x > 2\}", r"\{x \mid x > 2\}"),
    ("math", r"\mathbb{R} \setminus \{0\}", r"\mathbb{R}\setminus\{0\}"),
    ("math", r"x=2 \text{ or } x=3", "2, 3"),
    ("math", r"\pm 3", "-3, 3"),
    ("math", r"\tan^{-1} x", r"\arctan x"),
    ("math", r"\exp(x)", r"\mathrm{e}^{x}"),
    ("math", r"\sqrt{x^2+1}", "(x^2+1)^{1/2}"),
    ("math", r"\left\lfloor \frac{n}{2} \right\rfloor", r"\lfloor n/2 \rfloor"),
    ("math", r"\log_{10} 2", r"\log_{10}(2)"),
    ("number", "5 m²", "5"),
    ("number", "`42`", "42"),
    ("number", "≈ 42", "42"),
    ("number", "minus 42", "-42"),
    ("number", "negative five", "-5"),
    ("number", "3/4 cup", "0.75"),
    ("number", "1¾", "1.75"),
    ("number", "10**3", "1000"),
    # the other kinds
    ("choice", "(B)", "B"),
    ("choice", "b)", "B"),
    ("choice", "option B", "B"),
    ("choice", "**B**", "B"),
    ("choice", r"\text{B}", "B"),
    ("choice", r"\textbf{(B)}", "B"),
    ("choice", "(B) 12/25/1937", "B"),
    ("choice", "B. because", "B"),
    ("yes_no", "Yes.", "yes"),
    ("yes_no", "True", "yes"),
    ("yes_no", "FALSE", "no"),
    ("yes_no", "No, it is not", "no"),
    ("text", '"yajo"', "yajo"),
    ("text", "Yajo.", "yajo"),
    ("text", "  barn   damp ", "barn damp"),
    ("text", r"\text{yajo}", "yajo"),
    ("text", "1,000", "1000"),
    ("list", "[1, 2, 3]", "1,2,3"),
    ("list", "['a', \"b\"]", "a, b"),
    ("list", "[1.0, 2]", "(1, 2)"),
    ("list", "[[1, 2], [3]]", "[ [1,2] , [3] ]"),
    ("list", "a\nb", "a, b"),
    ("set", "{2, 1, 1}", "{1, 2}"),
    ("set", r"\{a, b\}", "b, a"),
    ("code", "```python\nx = 1\n```", "x = 1"),
    ("code", "[1,2]", "[1, 2]"),
    ("code", '{"a":(1,)}', "{'a': (1,)}"),
    ("code", "[1,2", "[1,2"),
    ("code", "f(1,2)", "f(1,2)"),
    ("code", "[x,2]", "[x,2]"),
    ("code", "    x = 1\n    y = 2   \n", "x = 1\ny = 2"),
    ("code", "x = 1\r\ny = 2", "x = 1\ny = 2"),
    ("expression", "(1 + 2) * 8 = 24", "(1+2)*8"),
    ("expression", r"(1 + 2) \times 8", "(1+2)*8"),
    ("expression", "8 ÷ 2 − 1", "8/2-1"),
]

UNEQUAL: list[tuple[Kind, str, str]] = [
    ("number", "7 or maybe 8", "8"),
    ("number", "7 or maybe 8", "7"),
    ("math", "7 or maybe 8", "8"),
    ("number", "5", "50"),
    ("number", "5", "-5"),
    ("number", "1.5", "15"),
    ("number", "0.333", "1/3"),
    ("number", "10", "100"),
    ("number", "1e3", "1e4"),
    ("number", "12345678901234567890", "12345678901234567891"),
    ("number", "1,2", "12"),
    ("number", "5 apples and 3 oranges", "5"),
    ("number", "unclear", "0"),
    ("number", "nan", "0"),
    ("number", "1/0", "0"),
    ("math", "50%", "0.5"),
    ("math", "(1,2]", "[1,2)"),
    ("math", "(1,2)", "[1,2]"),
    ("math", "(1,2)", "(2,1)"),
    ("math", "(1,234)", "1234"),
    ("math", "(1,234)", "(1234)"),
    ("math", "1, 2", "12"),
    ("math", "1, 2, 3", "1, 2"),
    ("math", "70, 110", "70110"),
    ("math", "[1,2]", r"\{1,2\}"),
    ("math", "x = 1, y = 2", "x = 2, y = 1"),
    ("math", "x+1", "x-1"),
    ("math", "x^2", "x^3"),
    ("math", "x^2", "2x"),
    ("math", "x", "X"),
    ("math", "x_1", "x_2"),
    ("math", "x_1", "x"),
    ("math", "52_8", "52"),
    ("math", "52_8", "52_9"),
    ("math", "2i", "2"),
    ("math", r"\sqrt{2}", r"\sqrt{3}"),
    ("math", r"\sqrt{2}", "2"),
    ("math", r"\sqrt[3]{2}", r"\sqrt{2}"),
    ("math", r"\pi", "3.14"),
    ("math", r"\pi", "3.141592653589793"),
    ("math", r"\frac{\pi}{2}", r"\frac{2}{\pi}"),
    ("math", "9^{9^{9^9}}", "9^{9^{9}}"),
    ("math", "9^{9^{9^9}}", "9^{9^{9^8}}"),
    ("math", "2^{k}", "2^{k-1}"),
    ("math", r"\sin x", r"\cos x"),
    ("math", r"\sin 2x", r"2\sin x"),
    ("math", r"f(2) < f(1) < f(4)", r"f(1) < f(2) < f(4)"),
    ("math", "I(0)", "0"),
    ("math", "f(1)", "f(2)"),
    ("math", r"x < 2", r"x \le 2"),
    ("math", r"x < 2", "x > 2"),
    ("math", "x^2+y^2=13", "x^2+y^2=12"),
    ("math", "3:1", "1:3"),
    ("math", "3:1", "3"),
    ("math", r"1\pm\sqrt{19}", r"1+\sqrt{19}"),
    ("math", r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}2\\1\end{pmatrix}"),
    ("math", r"\begin{pmatrix}1&2\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
    ("math", r"\text{ACF}", r"\text{CAF}"),
    ("math", r"\text{odd}", r"\text{even}"),
    ("math", r"\text{Evelyn}", r"\text{Navin}"),
    ("math", r"\text{4:30 p.m.}", r"\text{4:30 a.m.}"),
    ("math", r"9\text{ a.m.}", r"9\text{ p.m.}"),
    ("math", r"\{1,2\}", r"\{1,3\}"),
    ("math", r"(-\infty,0)\cup(0,\infty)", r"(-\infty,\infty)"),
    ("math", r"[0,1]\cup[2,3]", r"[0,1]\cap[2,3]"),
    ("math", r"\frac{1}{x+1}", r"\frac{1}{x-1}"),
    ("math", "5 x", "5"),
    ("math", "6m", "6"),
    ("math", "100!", "99!"),
    ("choice", "A", "B"),
    ("choice", "B or C", "B"),
    ("yes_no", "yes", "no"),
    ("yes_no", "unknown", "no"),
    ("text", "yajo", "yajc"),
    ("text", "[invalid]", "0"),
    ("text", "valid", "invalid"),
    ("text", "] ]", "] >"),
    ("text", "05/01/2021", "1/404"),
    ("list", "[1, 2]", "[2, 1]"),
    ("list", "[1, 23]", "[12, 3]"),
    ("list", "[[1, 2], 3]", "[1, [2, 3]]"),
    ("list", '["a, b"]', '["a", "b"]'),
    ("set", "{1, 2}", "{1, 2, 3}"),
    ("code", "if x:\n    y", "if x:\ny"),
    ("code", "x = 'A'", "x = 'a'"),
    ("expression", "(1+2)*8", "8*(1+2)"),
    ("expression", "24", "(1+2)*8"),
]


@pytest.mark.parametrize(("kind", "a", "b"), EQUAL)
def test_equal_answers_have_equal_keys(kind: Kind, a: str, b: str) -> None:
    assert key(a, AnswerSpec(kind)) == key(b, AnswerSpec(kind))


@pytest.mark.parametrize(("kind", "a", "b"), UNEQUAL)
def test_different_answers_have_different_keys(kind: Kind, a: str, b: str) -> None:
    assert key(a, AnswerSpec(kind)) != key(b, AnswerSpec(kind))


@pytest.mark.parametrize(("kind", "a", "b"), [*EQUAL, *UNEQUAL])
def test_a_key_is_its_own_key(kind: Kind, a: str, b: str) -> None:
    spec = AnswerSpec(kind)
    for answer in (a, b):
        assert key(key(answer, spec), spec) == key(answer, spec)


def test_a_choice_may_be_named_by_letter_or_by_text() -> None:
    dates = AnswerSpec("choice", choices=("05/01/2021", "02/23/2021", "03/11/2021"))
    for answer in ("B", "(b)", "02/23/2021", "(B) 02/23/2021", "B) 02/23/2021", '"02/23/2021"'):
        assert key(answer, dates) == "B"


def test_a_choice_that_holds_another_one_is_told_apart() -> None:
    spec = AnswerSpec("choice", choices=("valid", "invalid"))
    assert (key("valid", spec), key("Invalid.", spec)) == ("A", "B")


def test_labelled_choices_are_read_with_and_without_their_label() -> None:
    spec = AnswerSpec("choice", choices=("A)36", "B)15", "C)17"))
    assert key("15", spec) == key("B", spec) == key("B)15", spec) == key("B) 15.0", spec) == "B"


def test_choices_that_are_numbers_are_texts_and_have_letters() -> None:
    spec = AnswerSpec("choice", choices=("1", "2", "3"))
    assert key("(2)", spec) == key("2.", spec) == key("B", spec) == key("B) 2", spec) == "B"


def test_of_two_equal_choices_each_can_be_named_by_its_letter() -> None:
    spec = AnswerSpec("choice", choices=("8.75", "8.79", "8.75"))
    assert (key("8.75", spec), key("C", spec), key("(C) 8.75", spec)) == ("A", "C", "C")


def test_equal_is_by_keys_and_kind() -> None:
    assert equal("1/2", "0.5", AnswerSpec("math"))
    assert not equal("1/2", "0.5", AnswerSpec("text"))
    assert equal("0.50", "0.5", AnswerSpec("text"))


def test_the_default_kind_is_text() -> None:
    assert key("  Paris. ") == "paris"
