package listing

import (
	"strings"
	"time"
)

// months has the names that ls shows under the locales met on mirrors, in lower case and without a final dot, as glibc abbreviates
// them; old and new abbreviations both. No word here means two months. Croatian is left out for that: its lis is October, in Polish
// November, and an unknown month fails the listing where a wrong one would go unseen.
var months = func() map[string]time.Month {
	m := make(map[string]time.Month)
	for _, year := range []string{
		"jan feb mar apr may jun jul aug sep oct nov dec", // C, English
		"jan feb mär apr mai jun jul aug sep okt nov dez", // German
		"januar februar märz april mai juni juli august september oktober november dezember",
		"jän feb mrz apr mai jun jul aug sept okt nov dez",
		"janv févr mars avril mai juin juil août sept oct nov déc", // French
		"jan fév mar avr mai jui jul aoû sep oct nov déc",
		"ene feb mar abr may jun jul ago sept oct nov dic", // Spanish
		"gen feb mar apr mag giu lug ago set ott nov dic",  // Italian
		"jan fev mar abr mai jun jul ago set out nov dez",  // Portuguese
		"jan feb mrt apr mei jun jul aug sep okt nov dec",  // Dutch
		"jan feb mar apr maj jun jul aug sep okt nov dec",  // Danish, Swedish
		"jan feb mars april maj juni juli aug sep okt nov dec",
		"jan feb mars april mai juni juli aug sep okt nov des", // Norwegian
		"sty lut mar kwi maj cze lip sie wrz paź lis gru",      // Polish
		"led úno bře dub kvě čen čec srp zář říj lis pro",      // Czech
		"янв фев мар апр май июн июл авг сен окт ноя дек",      // Russian
		"янв фев мар апр мая июн июл авг сент окт нояб дек",
		"янв февр марта апр мая июня июля авг сент окт нояб дек",
		"січ лют бер кві тра чер лип сер вер жов лис гру", // Ukrainian
		"tammi helmi maalis huhti touko kesä heinä elo syys loka marras joulu",
		"oca şub mar nis may haz tem ağu eyl eki kas ara",     // Turkish
		"jan febr márc ápr máj jún júl aug szept okt nov dec", // Hungarian
		"1月 2月 3月 4月 5月 6月 7月 8月 9月 10月 11月 12月",              // Chinese, Japanese
		"01月 02月 03月 04月 05月 06月 07月 08月 09月 10月 11月 12月",
		"1월 2월 3월 4월 5월 6월 7월 8월 9월 10월 11월 12월",
	} {
		for i, name := range strings.Fields(year) {
			m[name] = time.Month(i + 1)
		}
	}
	return m
}()

// monthOf finds a month by its name in some language.
func monthOf(word string) (time.Month, bool) {
	if len(word) < 3 || len(word) > 18 || word[0] < 'A' && !isDigit(word[0]) {
		return 0, false
	}
	if m, ok := months[word]; ok {
		return m, ok
	}
	m, ok := months[strings.TrimSuffix(strings.ToLower(word), ".")]
	return m, ok
}
