"""Responses to BIG-Bench Hard questions: response, target, and what is read (None: nothing)."""

from __future__ import annotations

FREEFORM_FORMS: list[tuple[str, str, str | None]] = [
    # yes and no (causal_judgement, navigate, sports_understanding, web_of_lies)
    ("Therefore, the answer is Yes.", "Yes", "yes"), ("Therefore, the answer is no.", "Yes", "no"),
    ("No. You end up elsewhere.", "No", "no"), ("**Yes**", "No", "yes"), ("\\boxed{No}", "Yes", "no"),
    ("Answer: yes", "yes", "yes"), ("So the answer is \"No\".", "No", "no"), ("Yes!", "no", "yes"),
    ("Yes or no? There is no reason to doubt it. So the answer is yes.", "Yes", "yes"),
    ("Yes, you return to the starting point, since no step is left over.", "No", "yes"),
    ("The answer is No, because yes would need more steps.", "No", "no"), ("NO", "Yes", "no"),
    ("There is no way to tell.", "Yes", None), ("Yes and no.", "Yes", None), ("", "Yes", None),
    ("I take 3 steps.\nI take 3 back.\nYes", "No", "yes"), ("- Yes", "Yes", "yes"),
    ("First I thought no. But the answer is yes.", "No", "yes"), ("It is plausible.", "no", "yes"),
    ("The sentence is plausible.", "no", "yes"), ("That is not plausible.", "yes", "no"),
    ("Vina tells the truth, so yes.", "Yes", "yes"), ("You do not return.", "Yes", "no"),
    ("The final answer is (Yes).", "Yes", "yes"), ("The answer is no", "Yes", "no"),
    # true and false (boolean_expressions)
    ("not True is False. So the answer is False", "False", "false"), ("True", "False", "true"),
    ("not ( True ) and ( True ) is False.", "True", "false"), ("= True", "True", "true"),
    ("The answer is not False = True.", "True", "true"), ("`False`", "True", "false"),
    ("True or False = True\nTherefore, the answer is True.", "True", "true"), ("?", "True", None),
    ("Therefore, the answer is **FALSE**.", "True", "false"), ("$\\boxed{\\text{True}}$", "False", "true"),
    # valid and invalid (formal_fallacies)
    ("The argument is invalid, so the answer is invalid.", "valid", "invalid"),
    ("the answer is valid", "valid", "valid"), ("The argument is not valid.", "valid", "invalid"),
    ("The argument is deductively invalid.", "valid", "invalid"), ("Valid.", "invalid", "valid"),
    ("Is it valid or invalid? It is deductively valid.", "valid", "valid"),
    ("The argument isn't deductively valid.", "valid", "invalid"), ("Unclear.", "valid", None),
    ("The conclusion does not follow.", "valid", "invalid"), ("It is not invalid.", "valid", "valid"),
    # numbers (multistep_arithmetic_two, object_counting)
    ("The answer is 8.", "8", "8"), ("The answer is -12", "-12", "-12"), ("I have eight fruits.", "8", "8"),
    ("1 + 2 + 3 = 6 vegetables", "7", "6"), ("The answer is \u221243.", "5", "-43"), ("none", "5", None),
    # options (the other seventeen subtasks)
    ("The answer is (C).", "(C)", "(C)"), ("So the answer is (R)", "(R)", "(R)"), ("(K)", "(A)", "(K)"),
    ("The answer is I.", "(I)", "(I)"), ("I think the answer is (I).", "(I)", "(I)"),
    ("I am not sure.", "(A)", None), ("I cannot tell.", "(A)", None), ("Option F", "(A)", "(F)"),
    ("Therefore, the answer is (G) rectangle.", "(A)", "(G)"), ("(B) and (E)", "(A)", None),
    # brackets (dyck_languages)
    ("The answer is ] ) }", "] ) }", "])}"), ("[ ( { } )\nSo the answer is ])", "] )", "])"),
    ("] )", ")", "])"), ("So the answer is: `} > ]`.", ")", "}>]"), ("\\boxed{] )}", ")", "])"),
    ("Input: [ { [ ]\nWe close { and [ (in that order).\nThe answer is } ].", ")", "}]"),
    ("The rest of the sequence is:\n\n```\n> ) }\n```", ")", ">)}"), ("], ), }", ")", "])}"),
    ("**Answer:** )", ")", ")"), ("No brackets.", ")", None), ("The answer is > } ].", ")", ">}]"),
    # sorted words (word_sorting)
    ("The answer is apple banana cherry.", "apple banana cherry", "apple banana cherry"),
    ("the answer is: apple, banana, cherry", "apple banana cherry", "apple banana cherry"),
    ("1. apple\n2. banana\n3. cherry", "apple banana cherry", "apple banana cherry"),
    ("- cherry\n- banana\n- apple", "apple banana cherry", "cherry banana apple"),
    ("List: cherry banana apple\nSorted list: **apple**, **banana**, **cherry**",
     "apple banana cherry", "apple banana cherry"),
    ("apple -> banana -> cherry", "apple banana cherry", "apple banana cherry"),
    ("Sorted: Apple, Banana and Cherry. I hope this helps!", "apple banana cherry",
     "apple banana cherry"),
    ("apple banana", "apple banana cherry", "apple banana"), ("", "apple banana", None),
    ("apple < banana < cherry", "apple banana cherry", "apple banana cherry"),
    # words (two items of movie_recommendation and ruin_names)
    ("The answer is Monsters, Inc", "Monsters, Inc", "monsters inc"),
]  # fmt: skip
