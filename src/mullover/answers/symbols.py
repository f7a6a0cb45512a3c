r"""The vocabulary of mathematical answers: characters, LaTeX commands, functions, units. Tables only."""


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def table(text: str) -> dict[str, str]:
    """Pairs, a name and what it stands for."""
    pairs = text.split()
    return dict(zip(pairs[::2], pairs[1::2], strict=True))


FUNCTIONS = words(
    "sin cos tan cot sec csc arcsin arccos arctan arccot sinh cosh tanh coth log ln lg exp min max gcd lcm det arg"
    " Re Im sgn"
)
GREEK = words(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi"
    " omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega hbar ell oo"
)
FRACTIONS = words("frac dfrac tfrac cfrac")
STRUCTURES = FRACTIONS | words("sqrt cbrt binom dbinom tbinom choose over circ degree mathbb")
ACCENTS = words("overline bar dot ddot hat vec tilde widehat widetilde underline overrightarrow mathcal")
FONTS = words("mathbf boldsymbol bm mathit mathnormal textnormal cancel boxed fbox")
ALIASES = table(
    "asin arcsin acos arccos atan arctan infty oo infinity oo inf oo varepsilon epsilon varphi phi vartheta theta"
    r" varnothing \emptyset"
)

SHORT_WORDS = words("yes no odd all any one two six ten red")  # of fewer than four letters, and no product of symbols
UNITS = words(
    "cm mm km m² ft yd kg lb lbs oz mph kph kmh rpm hz khz mhz ghz min hr hrs sec secs kw kwh kj ev kev mev gev kpa mpa"
    " psi ml cl dl gal mol dm nm usd eur gbp cad aud inr rs sq cu per of the deg degs rads pct"
)
SHORT_UNITS = words("m s g h a in")  # only beside a longer unit or under a slash: 6m is a product
NO_UNITS = FUNCTIONS | words(
    "sqrt cbrt frac pi infinity infty inf oo and or alpha beta gamma delta epsilon theta lambda sigma omega phi psi rho"
    " tau mod div union floor ceil abs not maybe possibly perhaps either if else to than but is choose times over plus"
    " minus hundred thousand million billion trillion"
)

OPERATORS = {  # of LaTeX commands, without the backslash
    **dict.fromkeys(words("cdot times ast bullet"), "*"),
    **dict.fromkeys(words("le leq leqslant leqq"), "<="),
    **dict.fromkeys(words("ge geq geqslant geqq"), ">="),
    **dict.fromkeys(words("| lvert rvert vert lVert rVert"), "|"),
    **dict.fromkeys(words("setminus backslash"), "∖"),
    **dict.fromkeys(words("to rightarrow"), "to"),
    **table(r"div / pm ± mp ∓ ne != neq != lt < gt > approx = equiv = in in cup ∪ cap ∩ colon : mid : prime ' % % & &"),
    **table(r"{ \{ } \} lbrace \{ rbrace \} lbrack [ rbrack ] langle ( rangle ) lfloor ⌊ rfloor ⌋ lceil ⌈ rceil ⌉"),
    "\\": "\\\\",
}

_COMMANDS = table(
    r"≤ \le ≥ \ge ≠ \ne ± \pm ∓ \mp ∪ \cup ∩ \cap ∈ \in ∞ \infty π \pi √ \sqrt α \alpha β \beta γ \gamma δ \delta"
    r" ε \epsilon θ \theta λ \lambda μ \mu ρ \rho σ \sigma φ \phi ω \omega"
)
_PARTS = table("½ 12 ⅓ 13 ⅔ 23 ¼ 14 ¾ 34 ⅕ 15 ⅖ 25 ⅗ 35 ⅘ 45 ⅙ 16 ⅚ 56 ⅛ 18 ⅜ 38 ⅝ 58 ⅞ 78")
CHARACTERS = str.maketrans(
    {
        **dict.fromkeys("−–‒﹣－", "-"),
        **dict.fromkeys("×·⋅∙∗", "*"),
        **dict.fromkeys("÷∕⁄", "/"),
        **dict.fromkeys("∶：", ":"),
        **{character: command + " " for character, command in _COMMANDS.items()},
        **{character: f"\\frac{{{digits[0]}}}{{{digits[1]}}}" for character, digits in _PARTS.items()},
        **{character: f"^{i}" for i, character in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
        **{chr(0xFF10 + i): str(i) for i in range(10)},
        **dict.fromkeys("\u00a0\u2009\u202f\u2007\u2008\u200a\u2002\u2003\u3000", " "),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u200e\u200f\u202a\u202b\u202c\u202d\u202e€£¥₹₽₩", ""),
        **table("“ \" ” \" ‘ ' ’ ' ′ ' ， , （ ( ） ) ％ % ° ^\\circ"),
    }
)
