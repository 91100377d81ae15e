"""Names in generated C: legal, unique, and as close to the user's as C allows."""

from __future__ import annotations

import re
import unicodedata

KEYWORDS = """auto break case char const continue default do double else enum extern float for goto if inline int
    long register restrict return short signed sizeof static struct switch typedef union unsigned void volatile
    while asm typeof bool true false main"""
# What the headers that generated code includes declare (glibc's with its extensions, the longest list): a function of
# the same name would not compile, and a variable would hide one that the code calls.
MATH = """acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh drem erf erfc exp exp10 exp2 expm1 fabs
    fdim finite floor fma fmax fmin fmod frexp gamma hypot ilogb isinf isnan j0 j1 jn ldexp lgamma lgamma_r llrint
    llround log log10 log1p log2 logb lrint lround modf nan nearbyint nextafter nexttoward pow pow10 remainder
    remquo rint round scalb scalbln scalbn significand signbit sin sincos sinh sqrt tan tanh tgamma trunc y0 y1 yn"""
LIBRARY = """a64l abort abs aligned_alloc alloca arc4random at_quick_exit atexit atof atoi atol atoll basename bcmp
    bcopy bsearch bzero calloc canonicalize clearenv comparison_fn_t div div_t drand48 ecvt environ erand48 errno
    exit explicit_bzero fcvt ffs ffsl ffsll fpclassify free gcvt getenv getloadavg getpt getsubopt grantpt index
    initstate isfinite isgreater isgreaterequal isless islessequal islessgreater isnormal isunordered jrand48 l64a
    labs lcong48 ldiv ldiv_t llabs lldiv lldiv_t lrand48 major makedev malloc mblen mbstowcs mbtowc memccpy memchr
    memcmp memcpy memfrob memmem memmove mempcpy memrchr memset minor mkdtemp mkostemp mkstemp mkstemps mktemp
    mrand48 nrand48 on_exit posix_memalign posix_openpt pselect ptsname putenv qecvt qfcvt qgcvt qsort quick_exit
    rand random rawmemchr realloc reallocarray realpath rindex rpmatch seed48 select setenv setstate signal signgam
    srand srand48 srandom stderr stdin stdout stpcpy stpncpy strcasecmp strcasestr strcat strchr strchrnul strcmp
    strcoll strcpy strcspn strdup strdupa strerror strfmon strfry strlcat strlcpy strlen strncasecmp strncat strncmp
    strncpy strndup strnlen strpbrk strrchr strsep strsignal strspn strstr strtod strtof strtok strtol strtold
    strtoll strtoq strtoul strtoull strtouq strverscmp strxfrm system unlockpt unsetenv valloc wcstombs wctomb
    fd_set fd_mask uint ulong ushort timespec timeval"""
MACROS = """I complex imaginary math_errhandling NAN INFINITY NULL HUGE_VAL HUGE_VALF HUGE_VALL RAND_MAX MB_CUR_MAX
    MATH_ERRNO MATH_ERREXCEPT WNOHANG WUNTRACED WSTOPPED WEXITED WCONTINUED WNOWAIT NFDBITS BYTE_ORDER BIG_ENDIAN
    LITTLE_ENDIAN PDP_ENDIAN DOMAIN SING OVERFLOW UNDERFLOW PLOSS TLOSS X_TLOSS linux unix i386"""
PATTERNS = re.compile(
    r"(U?INT(PTR|MAX|8|16|32|64|_LEAST\d+|_FAST\d+)|SIZE|PTRDIFF|WCHAR|WINT|SIG_ATOMIC|FP|M|EXIT|FD)_[A-Z0-9_]+"
    r"|(omp_|be\d+to|le\d+to|htobe|htole)\w*"
    r"|u?_?int(_least|_fast)?(8|16|32|64|ptr|max)?_t|(s?size|wchar|float|double|u_char|u_short|u_int|u_long"
    r"|u?_?quad|fsid|l?off|ino|dev|gid|mode|nlink|uid|p?id"
    r"|[dc]addr|key|clock|clockid|time|timer|u_int(8|16|32|64)|sigset|suseconds|blksize|blkcnt|fsblkcnt|fsfilcnt"
    r"|pthread_\w+|locale)_t"
    r"|([delnmjs]rand48|[els]?cong48|seed48|rand|random|srandom|initstate|setstate|lgamma[fl]|q?[ef]cvt|strtok"
    r"|strerror|ptsname|qsort)_r|str\w+_l|arc4random_\w+|W(IF|EXITSTATUS|STOPSIG|TERMSIG)[A-Z]*|[fiub]\d+x\d+(_u)?"
)  # fmt: skip
OWN = """fault threads buffers sizes"""  # the parameters of every function
RESERVED = frozenset(
    [*OWN.split(), *KEYWORDS.split(), *LIBRARY.split(), *MACROS.split()]
    + [name + kind for name in MATH.split() for kind in ("", "f", "l")]
)  # fmt: skip


def reserved(name: str) -> bool:
    """Whether a name means something to C or to its headers already."""
    return name in RESERVED or PATTERNS.fullmatch(name) is not None


def legal(name: str) -> str:
    """`name` as a C identifier: accents dropped, everything else that C does not take replaced by an underscore."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"\W", "_", plain.replace(".", "_").replace("'", "_"))
    if not plain.strip("_"):
        plain = "t"
    if plain[0].isdigit() or plain[0] == "_" or plain.startswith("te_"):
        plain = "t" + plain
    plain = plain[:60]
    if reserved(plain):
        plain = "t" + plain if reserved(plain + "_") else plain + "_"
    return plain


class Names:
    """A scope of C names: the same object always gets the same name, two objects never do."""

    def __init__(self) -> None:
        self.taken: set[str] = set(RESERVED)
        self.given: dict[object, str] = {}

    def of(self, key: object, wanted: str) -> str:
        if key not in self.given:
            base = name = legal(wanted)
            serial = 0
            while name in self.taken:
                serial += 1
                name = f"{base}_{serial}"
            self.taken.add(name)
            self.given[key] = name
        return self.given[key]


def comment(text: str) -> str:
    """`text` as the contents of a one-line C comment: printable ASCII, nothing that ends the comment or continues its
    line.
    """
    plain = text.encode("ascii", "replace").decode()
    return (
        re.sub(r"[^ -~]", " ", plain).replace("\\", "/").replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?")
    )
