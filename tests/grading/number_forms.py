"""Responses to a word problem, and the number each answers (None: none)."""

from __future__ import annotations

NUMBER_FORMS: list[tuple[str, float | None]] = [
    # bare and stated
    ("18", 18), ("Therefore, the answer is 18.", 18), ("The answer is $18.", 18),
    ("**Answer:** 12", 12), ("Answer: 12", 12), ("ANSWER: 12.", 12), ("The answer is: 12", 12),
    ("The final answer is 12 apples.", 12), ("Final answer: 12", 12), ("Answer\n\n12", 12),
    ("The answer is therefore 12.", 12), ("She has 3 cats and 4 dogs, 7 in all", 7),
    ("The answer is that she has 12 apples.", 12), ("So the correct answer is 12 dollars.", 12),
    ("The answer is 12. There are 3 steps above.", 12), ("12 is the answer.", 12),
    ("In 3 days she earns 60, so the answer is that in 3 days she earns 60 dollars.", 60),
    ("The answer is 60 dollars for 3 days.", 60), ("ans: 5", 5), ("The answer's 5.", 5),
    # marks
    ("#### 42", 42), ("5 * 3 = 15\n#### 15", 15), ("#### $1,200", 1200), ("#### -4", -4),
    ("\\boxed{42}", 42), ("so \\boxed{\\$1,200}", 1200), ("$$\\boxed{42\\text{ apples}}$$", 42),
    ("\\boxed{x = 42}", 42), ("#### Step 2\nWe add 3 + 4 = 7.\nThe answer is 7.", 7),
    ("#### Step 1\nAdd 3 and 4.\n#### Step 2\nSo there are 7.", 7), ("<answer>7</answer>", 7),
    ("\\boxed{\\frac{3}{4}}", 0.75), ("#### Answer: 7", 7), ("#### 7 apples", 7),
    # times of day
    ("The answer is 5:30", None), ("#### 15:30", None), ("The answer is 5:00.", 5),
    ("#### 15:00", 15), ("9" * 20_000 + ":30", None), ("From 3:25 on she walks 4 km. The answer is 7", 7),
    # separators
    ("The answer is 1,234.", 1234), ("The answer is 1,234,567.50 dollars", 1234567.5),
    ("The answer is 1 234 567.", 1234567), ("The answer is 1\u00a0234.", 1234),
    ("The answer is 1\u202f234\u202f567.", 1234567), ("The answer is 1_234.", 1234),
    ("The answer is 1'234.", 1234), ("The answer is 1.234.567.", 1234567),
    ("The answer is 1.234,50 euros.", 1234.5), ("The answer is 12,5.", 12.5),
    ("The answer is 12,34,567.", 1234567), ("The answer is $1{,}234$.", 1234),
    # currency, units, percent
    ("The total is \u20ac30.", 30), ("The answer is 30 \u20ac.", 30), ("It costs US$30.", 30),
    ("The answer is Rs. 500.", 500), ("The answer is \u20b9500", 500), ("USD 45 is the answer", 45),
    ("The answer is \u00a33.50.", 3.5), ("The answer is 75%.", 75), ("The answer is 20kg.", 20),
    ("The answer is 75 percent.", 75), ("The answer is 20 km/h.", 20), ("The answer is 5pm.", 5),
    ("The answer is 3 m\u00b2.", 3), ("The answer is 75\\%.", 75),
    # signs
    ("The answer is -7.", -7), ("The answer is \u22127", -7), ("The answer is -$7.", -7),
    ("The answer is $-7.", -7), ("The answer is minus 7.", -7), ("The answer is negative 7.", -7),
    ("The answer is - 7.", -7), ("10 - 7 = 3", 3), ("5 - 7 = -2", -2), ("from 5-7", 7),
    ("- 7 apples", 7), ("The answer is +7.", 7), ("answer: \u20137", -7),
    # decimals, fractions, powers, scales
    ("The answer is 18.0", 18), ("The answer is 18.00.", 18), ("The answer is .5", 0.5),
    ("The answer is 1/2.", 0.5), ("\\frac{3}{4}", 0.75), ("The answer is $\\dfrac{3}{4}$.", 0.75),
    ("The answer is 3 1/2.", 3.5), ("The answer is 2\\frac{1}{2}.", 2.5), ("The answer is \u00bd.", 0.5),
    ("The answer is 3\u00bd.", 3.5), ("The answer is 1.5 million dollars.", 1500000),
    ("The answer is 3 thousand.", 3000), ("The answer is 1.2e3.", 1200), ("It is 2 dozen.", 2),
    ("The answer is 1.2 \u00d7 10^3.", 1200), ("The answer is $6 \\times 10^{4}$.", 60000),
    # the sentence's own arithmetic
    ("3 + 4 = 7, so the answer is 3 + 4 = 7.", 7), ("The answer is 10/3 \u2248 3.33", 3.33),
    ("The answer is 24 * 3 = $72 per day.", 72), ("The answer is x = 9.", 9),
    # changed late
    ("First the answer is 5. Wait, no: the answer is 6.", 6), ("The answer is 5. Actually, it's 6.", 6),
    ("\\boxed{5}\nCorrection: \\boxed{6}", 6), ("The answer is 5. Sorry, that should be 6.", 6),
    ("#### 5\n\nLet me recheck: 2 + 4 = 6.\n#### 6", 6), ("The answer is not 5 but 6.", 6),
    ("<think>The answer is 5.</think>The answer is 6.", 6), ("The answer is ~~5~~ 6.", 6),
    # emphasis and trailing prose
    ("So she has **18** eggs, out of 24.", 18), ("**Step 1:** 3\n\nShe has **7 apples**.", 7),
    ("*18*", 18), ("The answer is **18**.", 18), ("It is `18`.", 18), ("__18__", 18),
    ("The answer is 18. I hope these 3 steps help!", 18), ("3*4 = 12", 12), ("2**3 = 8", 8),
    ("1. Add 3 and 4.\n2. That is 7.", 7), ("1) 5\n2) 9", 9),
    # words and scripts
    ("The answer is eighteen.", 18), ("I have seven fruits.", 7), ("twenty-one", 21),
    ("The answer is one hundred and five.", 105), ("Two thousand three hundred", 2300),
    ("The answer is \u0661\u0668.", 18), ("\u7b54\u6848\u662f\uff11\uff18\u3002", 18),
    ("\u0909\u0924\u094d\u0924\u0930: \u0967\u096e", 18), ("La respuesta es 18.", 18), ("Antwort: 18", 18),
    ("\u041e\u0442\u0432\u0435\u0442: 18", 18), ("\u7b54\u3048\u306f18\u3067\u3059\u3002", 18),
    ("\u0661\u066c\u0662\u0663\u0664", 1234),
    # none
    ("no number", None), ("", None), ("The answer is unknown", None), ("I cannot say.", None),
    ("H2O", None), ("Answer:", None), ("x", None),
]  # fmt: skip
