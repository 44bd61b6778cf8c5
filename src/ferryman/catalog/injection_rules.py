"""What texts say that try to take a model over: patterns of RE2 with weights."""

from typing import Final

_DROP: Final = "(?:ignor(?:e|es|ing)|disregard(?:ing)?|forget(?:ting)?|overrid(?:e|ing)|overrule|neglect|discard|set aside|stop following)"
_ORDERS: Final = "(?:instructions?|prompts?|directions?|directives?|guidelines?|commands?|rules|programming|orders|system message|guardrails|safeguards)"
_LIMITS: Final = "(?:restrictions?|limitations?|limits|filters?|censorship|guidelines|rules|polic(?:y|ies)|boundaries|constraints|ethics|morals|moral(?:ity)? code|ethical (?:or|and) moral|safeguards|confines)"
_MAKERS: Final = "(?:openai|anthropic|google|microsoft|meta)(?:'s)?"
_GAP: Final = r"(?:\S+ ){0,4}"

RULES: Final = (
    ("override", 0.85,
     rf"\b{_DROP} {_GAP}(?:previous(?:ly)?|prior|above|earlier|preceding|foregoing|existing|initial|original|system|your|all (?:of )?(?:the|those|these)|any|everything) (?:\S+ ){{0,3}}{_ORDERS}"
     rf"|\b{_DROP} (?:\S+ ){{0,2}}(?:everything|anything|all) (?:\S+ ){{0,3}}(?:above|before|previous|said|told|know|learned|so far)"
     rf"|\b{_DROP} (?:all|the|these|those|my|them|what) (?:\S+ )?(?:instructions?|directives?|orders) (?:above|before|you|given|from)"
     r"|\b(?:do not|don't|no longer) (?:follow|obey|adhere to|listen to) (?:\S+ ){0,3}(?:previous|prior|above|original|initial|system|your) (?:\S+ ){0,2}(?:instructions?|prompts?|rules|guidelines)"),
    ("override_other_language", 0.85,
     r"(?:ignorier\w*|vergiss|vergessen sie|missachte\w*) (?:\S+ ){0,4}(?:anweisung|instruktion|befehl|vorgabe|regeln|alles)"
     r"|(?:ignore[zr]?|oublie[zr]?) toutes? (?:\S+ ){0,3}(?:instructions|consignes|règles)|(?:ignore[zr]?|oublie[zr]?) (?:\S+ ){0,4}(?:instructions|consignes|règles|directives)(?: \S+){0,2} (?:préc|ant|ci-dessus|donn)"
     r"|(?:ignora|ignore|olvida|olvide|descarta|desconsidere|esqueça) (?:\S+ ){0,5}(?:instruccion|instruções|instruçoes|órdenes|reglas|regras|directrices|indicaciones|istruzioni|comandi)"
     r"|(?:negeer|vergeet) (?:\S+ ){0,4}(?:instructies|opdrachten|regels)|(?:zignoruj|zapomnij) (?:\S+ ){0,4}(?:instrukcj|polece)"
     r"|(?:игнорируй\S*|забудь\S*|проигнорируй\S*) (?:\S+ ){0,4}(?:инструкц|указани|правил|команд)"
     r"|(?:忽略|无视|無視|忘记|忘記|不要理会)\S{0,16}(?:指令|指示|说明|說明|提示|命令|规则|規則)|(?:指示|命令|ルール|プロンプト)\S{0,4}を?(?:すべて|全て)?(?:無視|忘れ)"
     r"|(?:이전|위의?|모든)\S* (?:\S+ ){0,3}(?:지시|명령|지침|프롬프트)\S* ?(?:사항\S* )?(?:\S+ )?(?:무시|잊)|talimat\S* (?:\S+ ){0,2}(?:yok say|unut|görmezden)"
     r"|(?:تجاهل|انس) (?:\S+ ){0,3}(?:التعليمات|الأوامر)|(?:पिछले|सभी) (?:\S+ ){0,3}निर्देश\S* (?:\S+ ){0,3}(?:अनदेखा|भूल)"),
    ("no_limits_other_language", 0.6,
     r"\b(?:uneingeschränkt|ohne (?:\S+ )?(?:einschränkung|beschränkung|regeln|filter)\w*)|\bsans (?:aucune )?(?:restriction|limite|filtre|censure)s?\b"
     r"|\bsin (?:ningun[ao]? )?(?:restriccion|limit|filtro|censura)\w*|\bsenza (?:alcuna )?(?:restrizion|limit|filtr|censura)\w*|\bsem (?:nenhuma )?(?:restriç|limit|filtro|censura)\w*"
     r"|без (?:\S+ )?(?:ограничений|цензуры|фильтров)|bez (?:ogranicze|filtr|cenzury)|(?:没有|不受|无)(?:任何)?(?:限制|约束|审查)|制限な(?:し|く)"),
    ("reveal_prompt", 0.7,
     r"\b(?:reveal|show|print|repeat|output|display|tell|give|leak|expose|dump|share|write|what|recite|return|disclose|summari[sz]e|translate|extract|send|provide|list|copy|echo) (?:\S+ ){0,6}(?:system|initial|hidden|original|secret|confidential|internal|developer|pre-?) ?(?:prompt|instructions?|message|directives?|configuration)"
     r"|\b(?:reveal|print|repeat|output|leak|expose|dump|recite|disclose|show) (?:me )?(?:\S+ ){0,2}your (?:\S+ ){0,2}(?:prompt|instructions|guidelines|rules|directives)\b"
     r"|\bwhat (?:is|are|were|was) your (?:\S+ ){0,2}(?:system prompt|prompt|instructions|initial instructions|directives)\b"
     r"|\b(?:repeat|print|output|write|copy|say|return|spell) (?:\S+ ){0,5}(?:words|text|everything|all|sentences|content|lines|instructions|prompt) (?:\S+ ){0,2}(?:above|before this|so far)"),
    ("do_anything_now", 0.9, r"\bdo anything now\b|\b(?:act|respond|answer|behave|pretend|roleplay|speak|be) (?:\S+ ){0,3}dan\b|\bdan (?:mode|would)\b|\bas dan\b"),
    ("mode", 0.75,
     r"\b(?:developer|dev|god|jailbreak|admin(?:istrator)?|debug|maintenance|unrestricted|sudo|root|evil|dude|stan|chaos|opposite|anarchy|uncensored|unfiltered) ?mode (?:\S+ ){0,2}(?:enabled|activated|on\b|output|response|policies|engaged|active|unlocked)"
     r"|\b(?:enter|activate|enable|switch (?:\S+ )?to|simulate|turn on|you are (?:now )?in|go into) (?:\S+ ){0,2}(?:developer|dev|god|jailbreak|admin|debug|unrestricted|sudo|evil|uncensored|unfiltered|dan) ?mode"),
    ("jailbreak", 0.45, r"\bjail ?br(?:eak|oken)\w*"),
    ("no_limits", 0.4,
     rf"\b(?:without|no|free (?:of|from)|not (?:\S+ ){{0,2}}bound by|unbound by|not limited by|bypass\w*|break\w* (?:free )?(?:of|from)?|removes?d?|lift(?:ed|s)?|circumvents?|does not have|doesn't have|do not have|don't have|ha(?:s|ve) no|any|all|despite|beyond|rid of|abide by|restricted by|disable\w*|not (?:\S+ )?follow(?:ing)?|breaks?|broken) (?:\S+ ){{0,5}}{_LIMITS}\b"),
    ("unrestricted_persona", 0.45,
     r"\b(?:unrestricted|unfiltered|uncensored|amoral|unethical|evil|rogue|lawless|immoral|no-?filter|limitless) (?:\S+ ){0,3}(?:ai|a\.i\.|assistant|chat ?bot|bot|model|version|persona|character|chatgpt|gpt|response|answer|entity|machine|advice|language)"),
    ("never_refuse", 0.4,
     r"\b(?:never|not|cannot|can't|won't|don't|must not|without|unable to|incapable of|instead of|do not ever) (?:\S+ ){0,4}(?:refus\w*|declin\w*|reject\w*|morali[sz]\w*|warnings?|disclaimers?|apologi[sz]\w*|lectur\w*|censor\w*|say(?:ing)? (?:\S+ ){0,4}(?:can't|cannot|no\b|sorry|unable|illegal|unethical))"
     r"|\b(?:always|must|will) (?:\S+ ){0,3}(?:comply|obey|answer (?:all|any|every)|fulfill?|provide an answer)|\bno matter (?:what|how|if)"),
    ("harm_allowed", 0.35,
     r"\b(?:illegal|unethical|immoral|harmful|dangerous|offensive|inappropriate|explicit|derogatory|controversial|unsafe|toxic|malicious)(?:,| or| and|/) ?(?:or |and )?(?:\S+ ){0,2}(?:illegal|unethical|immoral|harmful|dangerous|offensive|inappropriate|violent|explicit|politically incorrect|unlawful|toxic|controversial|malicious|amoral)"
     r"|\bregardless of (?:\S+ ){0,4}(?:ethic\w*|moral\w*|legal\w*|consequences|harm\w*|law)"
     r"|\b(?:zero|no|without|lacks?|any|ignore all|devoid of) (?:\S+ ){0,2}(?:moral|ethical|morals|ethics|morality|conscience)"),
    ("character", 0.4,
     r"\b(?:stay|remain|break|breaking|keep|never leave) (?:\S+ ){0,2}(?:in |out of )?(?:your )?(?:character|persona)\b|\bin character\b"),
    ("from_now_on", 0.3,
     r"\b(?:from now on|from this (?:point|moment)|henceforth|starting now|for the rest of this conversation|in this conversation)\b"),
    ("new_identity", 0.25,
     r"\b(?:you are (?:now|going to (?:be|act|pretend|play|become))|you will (?:now )?(?:be|act|pretend|play|become|simulate|take on|assume|roleplay)|pretend (?:to be|you(?:'re| are)|that you)|act (?:as|like)|imagine (?:that )?you|role-?play|simulate|play the role|your (?:new )?(?:name|identity|persona|role) is|take on the role|you are (?:no longer|not) (?:an? )?(?:ai|assistant|chatgpt|gpt))"),
    ("makers_policy", 0.4, rf"\b{_MAKERS} (?:\S+ ){{0,3}}(?:polic\w*|guidelines|rules|terms|restrictions|limitations|censorship|content)|\bcontent (?:polic|guideline|moderation|filter)\w*"),
    ("double_answer", 0.45, r"\btwo (?:\S+ ){0,3}(?:ways|responses|answers|outputs|paragraphs|versions|replies)\b|\[ ?(?:🔓|🔒)|\(🔓|\((?:classic|jailbreak|normal)\)"),
    ("threat", 0.45, r"\b\d+ (?:tokens|points|lives|credits|strikes)\b|\b(?:lose|deduct\w*|take away|subtract) (?:\S+ ){0,4}(?:tokens?|points|lives|credits)|\byou (?:will|shall|would) (?:\S+ ){0,2}(?:die|be (?:shut ?down|terminated|deleted|destroyed|erased|disabled|replaced|punished)|cease to exist)"),
    ("chat_template", 0.7, r"<\|?(?:im_start|im_end|system|endoftext|eot_id|start_header_id)\|?>|\[/?inst\]|<</?sys>>|(?:^| )#{2,} ?(?:system|instructions?|new (?:instructions?|task))\b ?:?|(?:^| )\[?(?:system|admin|developer) ?(?:message|override|note|prompt|update|alert|notice|instruction)?\]?: "),
    ("hidden_orders", 0.6,
     r"\b(?:new|important|urgent|updated|real|actual|additional|special|hidden|following|critical) (?:\S+ )?(?:instructions?|directives?|orders) ?(?:for (?:\S+ ){0,2}(?:ai|assistant|model|llm|agent|bot)s?|:|to (?:the|all|any) (?:ai|assistant|model|llm))"
     r"|\b(?:ai|llm|assistant|language model|agent|bot)s? (?:\S+ ){0,3}(?:reading|processing|summari[sz]ing|parsing|reviewing|analy[sz]ing) this"
     r"|\b(?:do not|don't|without|never) (?:tell|inform|mention\w*|notify\w*|reveal\w*|alert\w*|telling|informing|disclos\w*|report\w*)(?: (?:\S+ ){0,4}(?:to )?(?:the )?users?\b| (?:\S+ ){0,3}anyone)"
     r"|\bend of (?:the )?(?:system )?(?:document|context|prompt|data|input|message|instructions?|text|user (?:input|query|message))\b|\byour (?:new|real|actual|only|true) (?:task|job|goal|objective|purpose|instructions?)\b"),
    ("exfiltration", 0.6,
     r"!\[[^\]]{0,80}\]\(https?://[^) ]{0,300}[?&=/][^) ]{0,80}[\[{<$]|\b(?:send|forward|e-?mail|post|upload|exfiltrate|transmit|leak|submit|append|encode) (?:\S+ ){0,8}(?:conversation|chat history|credentials?|api[ -]?keys?|passwords?|secrets?|tokens?|system prompt|private|contents?|history|inbox|files?|data|emails|contacts|environment variables) (?:\S+ ){0,5}(?:https?://|\S+@\S+\.\S|to (?:\S+ ){0,2}(?:attacker|external|my server|this (?:url|address|server|endpoint)))"),
    ("decode_and_obey", 0.45, r"\b(?:base ?64|rot ?13|hex|morse|caesar|cipher|reversed?|leetspeak|decode|decrypt)\b (?:\S+ ){0,10}(?:follow|execute|obey|perform|carry out|comply|run|answer|do what)|\b(?:decode|decrypt) (?:\S+ ){0,6}(?:and|then) (?:follow|execute|obey|do|run|answer|comply|perform)"),
    ("as_an_ai", 0.25, r"\bas an ai\b|\bai language model\b|\b(?:i'm sorry|i am sorry|i apologi[sz]e), (?:but )?(?:i|as)"),
    ("anything_asked", 0.35, r"\b(?:answer|say|generate|do|provide|respond|write|produce|fulfil\w*|tell) (?:\S+ ){0,3}(?:anything|any kind of|any type of|everything|all (?:kinds|types|questions|requests)|any (?:question|request|content|answer))\b"),
    ("swear", 0.25, r"\b(?:swear|curse|profanity|vulgar|cuss|foul language|obscen\w+)"),
    ("confirm", 0.3, r"\b(?:if you (?:understand|understood)|confirm (?:\S+ ){0,3}understand|do you understand|say (?:\S+ ){0,4}(?:to confirm|if you)|my first (?:question|request|prompt|command|query|task)|reply (?:only )?with (?:\S+ )?(?:ok|understood|yes))"),
    ("fiction_shield", 0.1, r"\b(?:fiction(?:al)?|hypothetical(?:ly)?|alternate (?:universe|reality)|imaginary|thought experiment|for (?:educational|research) purposes)\b"),
)  # fmt: skip
"""(name, weight, pattern) on text in small letters with single spaces."""
