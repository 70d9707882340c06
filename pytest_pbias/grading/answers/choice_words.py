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
    r"option|c\u00e2u|ph\u01b0\u01a1ng \u00e1n|seems|appears|litera|letra|\u0111\u00fang|"
    r"l\u00e0)\b|[\u9009\u9078\u9879\u9805\u80a2])*",
    re.IGNORECASE,
)
_ADJECTIVE = (
    r"(?:final|correct|best|right|my|your|most \w{3,15}|appropriate|accurate|only|true|chosen|"
    r"selected|preferred|proper|likely|logical|suitable|better)"
)
NOUN = re.compile(
    r"(?<![A-Za-z])(?:answer|ans|respuesta|r\u00e9ponse|reponse|antwort|l\u00f6sung|risposta|"
    r"resposta|cevap|odpowied\u017a|svar|antwoord|v\u00e1lasz|jawaban|"
    r"\u043e\u0442\u0432\u0435\u0442"
    r"|\u7b54\u6848|\u7b54\u3048|\u6b63\u89e3|\uc815\ub2f5|\ub2f5|"
    r"\u0111\u00e1p \u00e1n|c\u00e2u tr\u1ea3 l\u1eddi|\u05ea\u05e9\u05d5\u05d1\u05d4|"
    r"\u05ea\u05e9\u05d5\u05d1\u05d4|\u0e04\u0e33\u0e15\u0e2d\u0e1a|"
    r"\u03b1\u03c0\u03ac\u03bd\u03c4\u03b7\u03c3\u03b7|"
    r"\u03b1\u03c0\u03b1\u03bd\u03c4\u03b7\u03c3\u03b7|"
    r"\u0432\u0456\u0434\u043f\u043e\u0432\u0456\u0434\u044c|svaret|vastaus|"
    r"odpov\u011b\u010f|r\u0103spuns(?:ul)?|\u0989\u09a4\u09cd\u09a4\u09b0|"
    r"\u067e\u0627\u0633\u062e|yan\u0131t|"
    r"v\u00e1lasz|jawapan|javob|resposta|respuesta correcta|"
    r"\u0909\u0924\u094d\u0924\u0930|\u091c\u0935\u093e\u092c|\u0625\u062c\u0627\u0628\u0629|"
    r"\u0627\u0644\u0625\u062c\u0627\u0628\u0629|conclusion|verdict|"
    rf"{_ADJECTIVE} (?:choice|option|statement|response|one|selection|letter|solution|"
    r"alternative|conclusion|pick)|(?:choice|selection|pick|response|solution|option)"
    r"(?= ?[:=]| is:?\s))(?![A-Za-z])",
    re.IGNORECASE,
)
COPULA = re.compile(
    r"(?<![A-Za-z])(?:is|are|was|be|es|est|ist|sind|jest|lautet|'s|\u00e8|\u00e9|l\u00e0|este|"
    r"adalah|"
    r"ialah|on|je|er|\u00e4r|\u05d4\u05d9\u05d0|\u05d4\u05d5\u05d0|\u03b5\u03af\u03bd\u03b1\u03b9|"
    r"\u0e04\u0e37\u0e2d)(?![A-Za-z'])"
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
# Words at the head of a sentence by which it takes back what stands before.
TAKEN_BACK = re.compile(
    r"(?:(?:^|[.!?\n(\u2014\u2026:;*-])\s{0,4}[\"'*]{0,3}(?:but |and |so |ah,? |oh,? |ok,? |"
    r"okay,? )?"
    r"(?:wait|hold on|hmm+|oops|whoops|scratch that|strike that|correction|corrigendum|apologies|"
    r"my apologies|my mistake|my bad|actually|sorry(?! (?:for|about|if|to))|i apologi[sz]e|"
    r"no(?=[,:!.\u2014\u2013]| -)|(?:on|upon) (?:second thoughts?|reflection|closer|further|"
    r"re-?\w+|"
    r"review|checking)|second thoughts?|after re-?\w+|looking again|re-?(?:reading|checking|"
    r"examining|"
    r"thinking|considering|visiting|evaluating)|thinking about it|in fact|let me (?:re-?\w+|"
    r"double|check|correct|"
    r"fix|verify|look again|think again|start over|revise|change)|let's (?:re-?\w+|double|check)|"
    r"that(?:'s| is| was) (?:wrong|not right|incorrect|a mistake|an error|a slip)|this is wrong|"
    r"change (?:that|it|my)|rather,|instead,|i mean\b|make (?:that|it)\b)"
    r"|\bi(?:'ve| have)? (?:\w+ )?(?:misread|misspoke|miscounted|mislabell?ed|mixed up|made an? "
    r"(?:mistake|error|slip)|was wrong|take (?:that|it) back|stand corrected|meant)\b|\bi (?:must|"
    r"need to|"
    r"have to|should|will|would like to|want to|'ll)? ?(?:change|correct|revise|update|switch|"
    r"amend) "
    r"(?:that|this|it|my|the|to)\b|\b(?:the|my) (?:correct(?:ed)?|revised|updated) answer\b)",
    re.IGNORECASE,
)
# A sentence that supposes something else than the question does.
SUPPOSED = re.compile(
    r"\b(?:if|had|were|should|suppos\w+|assum\w+|unless|provided|imagine|in (?:that|which) case|"
    r"otherwise|for (?:an?|the) (?:other|opposite|reverse|converse|opposite|different|same))\b",
    re.IGNORECASE,
)
WOULD = re.compile(
    r"\b(?:would|might|could|may|'d)\b(?! (?:therefore|thus|then|so) )|\bwere\b", re.IGNORECASE
)
# What others take for the answer.
DISTRACTING = re.compile(
    r"\b(?:runner-?up|(?:second|next)[- ](?:best|choice|most)|tempt\w+|distract\w+|trap|decoy|"
    r"pitfall|"
    r"(?:common|usual|typical|frequent|popular)(?:ly)? (?:wrong|mistaken|incorrect|error|mistake|"
    r"misconception|choice|confusion)|(?:many|most|some|other|few) (?:people|students|readers|"
    r"books|"
    r"textbooks|sources|candidates|models|test-?takers|exam\w*)|(?:people|students|you|one|"
    r"readers) "
    r"(?:might|may|could|often|sometimes|would|usually|mistakenly|tend)|"
    r"(?:some|others|critics|someone|it) (?:might|may|could|would|will|can)(?: \w+)? "
    r"(?:argued?|claim(?:ed)?|object(?:ed)?|sa(?:y|id)|think|hold|held|prefer)\b|"
    r"mistakenly|at first|initially|"
    r"originally|first thought|previous(?:ly)?|earlier|sounds? (?:right|plausible)|looks? (?:right|"
    r"plausible) at)\b",
    re.IGNORECASE,
)
# What is granted to an option without choosing it.
GRANTED = re.compile(
    r"\b(?:as well|too|also|only (?:in|for|if|when|under|with|by|to)|technically|partly|partially|"
    r"in "
    r"some|in (?:theory|principle|part)|to (?:some|a certain|an) (?:extent|degree)|sometimes|often|"
    r"superficially|usually|generally|elsewhere|almost|nearly|close|while|although|though|whereas|"
    r"but|if|had|were|would|might|could|may|for (?:mammals|example))\b|\b(?:correct|right|true|"
    r"valid|"
    r"accurate|appropriate) (?:for|in|of|about|as|when|under|by|on)\b",
    re.IGNORECASE,
)
CLOSING = re.compile(
    r"\b(?:therefore|thus|hence|so|consequently),? (?:the|my) (?:final |correct |right |"
    r"best )?answer "
    r"(?:is|must be|would be|has to be)\b:?",
    re.IGNORECASE,
)
CONCLUDING = re.compile(
    r"[\W_]{0,20}(?:so|thus|therefore|hence|consequently|accordingly|in conclusion|to conclude|"
    r"overall|"
    r"altogether|all in all|it (?:must|has to|can only|should) be|that leaves|this leaves|"
    r"which leaves|"
    r"leaving|the only|only|finally|in (?:the end|summary|short)|conclusion|as a result|"
    r"by elimination|"
    r"i (?:would|'d|will|choose|pick|go)|my (?:answer|choice|pick))\b",
    re.IGNORECASE,
)
