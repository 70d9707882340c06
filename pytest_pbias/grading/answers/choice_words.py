"""The words by which a sentence announces, makes, corrects or hedges a choice."""

from __future__ import annotations

import re

FILLER = re.compile(
    r"(?:[\s:,;>=\-\u2013\u2014(\"'\[.*]|->|\b(?:therefore|thus|hence|then|so|clearly|definitely|"
    r"certainly|most|likely|probably|indeed|actually|in fact|simply|just|obviously|surely|option|"
    r"choice|letter|answer|alternative|statement|the|is|that|it|it's|correct|best|right|final|"
    r"one|either|both|only|would|be|must|should|to|given|as follows|really|presumably|"
    r"undoubtedly|of course|ultimately|perhaps|maybe|possibly|i|i'd|think|believe|guess|say|"
    r"choose|pick|select|go|going|with|for|has|have|follows|labell?ed|marked|number|accurate|"
    r"appropriate|opci\u00f3n|la|el|die|der|das|option|buchstabe|lettre|selected|provided|"
    r"option)\b|[\u9009\u9078\u9879\u9805\u80a2])*",
    re.IGNORECASE,
)
_ADJECTIVE = (
    r"(?:final|correct|best|right|my|your|most \w{3,15}|appropriate|accurate|only|true|chosen|"
    r"selected|preferred|proper|likely|logical|suitable|better)"
)
NOUN = re.compile(
    r"(?<![A-Za-z])(?:answer|ans|respuesta|r\u00e9ponse|reponse|antwort|l\u00f6sung|risposta|"
    r"resposta|cevap|odpowied\u017a|svar|antwoord|v\u00e1lasz|jawaban|\u043e\u0442\u0432\u0435\u0442"
    r"|\u7b54\u6848|\u7b54\u3048|\u6b63\u89e3|\uc815\ub2f5|\ub2f5|"
    r"\u0909\u0924\u094d\u0924\u0930|\u091c\u0935\u093e\u092c|\u0625\u062c\u0627\u0628\u0629|"
    r"\u0627\u0644\u0625\u062c\u0627\u0628\u0629|conclusion|verdict|"
    rf"{_ADJECTIVE} (?:choice|option|statement|response|one|selection|letter|solution|"
    r"alternative|conclusion|pick)|(?:choice|selection|pick|response|solution|option)"
    r"(?= ?[:=]| is:?\s))(?![A-Za-z])",
    re.IGNORECASE,
)
COPULA = re.compile(
    r"(?<![A-Za-z])(?:is|are|was|be|es|est|ist|sind|jest|lautet|'s|\u00e8|\u00e9)(?![A-Za-z'])"
    r"|[:=?>\u2192\u21d2\u2014\u2013]| - |[\u662f\u306f\u4e3a\u70ba\u9009\u9078]|\uc740 |\uc740|"
    r"\ub294|\u0939\u0948"
)
CHOOSING = re.compile(
    r"(?<![A-Za-z])(?:choose|chose|select(?:ed)?|pick(?:ed)?|go(?:ing)? (?:with|for)|opt(?:ing)? "
    r"for|settle (?:on|for)|lean(?:ing)? (?:towards?|to)|vote for|(?:would|i'd|i'll|i) (?:say|"
    r"answer)|answer with|conclude(?: that)?|must be|should be|has to be|it's|it is|that's|"
    r"would be|will be|leaves?(?: us)?(?: with)?|leaving(?: us)?(?: with)?|therefore|thus|hence|"
    r"so|(?:change|switch|revise|update|correct)[^.\n]{0,30}? to|actually|wait|correction|"
    r"i mean|i meant|make (?:that|it)|but|no(?=[,:;.\u2014-]| -)|second thoughts?|reflection|"
    r"reconsideration|my (?:guess|bet)(?: is)?|guess|finally|consequently|only|"
    r"elijo|ist|c'est|es|nehme|w\u00e4hle|choisis)(?![A-Za-z])"
    r"|=>|->|[\u2192\u21d2\u9009\u9078]|\u2234",
    re.IGNORECASE,
)
CORRECTED = re.compile(
    r"\b(?:wait|actually|no|hmm+|however|second thoughts?|correction|sorry|mistake|mistaken|"
    r"re-?consider\w*|re-?check\w*|re-?read\w*|re-?examin\w*|re-?think\w*|scratch|change|changing|"
    r"switch|revis\w+|instead|but|error|oops|apologies|apologize|rather|mean|meant|update|in fact|"
    r"that's wrong|not right|on reflection|looking again|upon|thinking about it)\b",
    re.IGNORECASE,
)
EQUATED = re.compile(r"(?<![A-Za-z])(?:is|are|lautet|est|ist|es)(?![A-Za-z'])|(?<=[a-z\d]):")
HEDGE = re.compile(
    r"[\s*#>-]*(?:(?:hmm+|well|ok|okay|sure|yes|correct|final|definitely|probably|perhaps|maybe|"
    r"surely|clearly|certainly|obviously|likely|most likely|i think|i believe|i guess|thinking|"
    r"result)\b[\s,.:]*|[\u2705\u2713\u2714\u261e\u2611]\s*)*",
    re.IGNORECASE,
)
LABELLED_ANSWER = re.compile(r"(?m)(^|\s)A:\s{0,3}(?=\(?[A-Z]\)?\W{0,3}$)")
NOT_AVAILABLE = re.compile(r"\bN/A\b|\bn/a\b")
