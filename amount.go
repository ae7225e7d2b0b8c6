package sluice

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Amount is a number of hosts, or a share of a group in percent with up to two decimals. The zero Amount is 0.
type Amount struct {
	n       int // hosts, or hundredths of a percent
	percent bool
}

// Count is the amount of n hosts; n >= 0.
func Count(n int) Amount { return Amount{n: n} }

// Percent is p percent; 0 <= p <= 100.
func Percent(p int) Amount { return Amount{n: p * 100, percent: true} }

// ParseAmount reads "3", "15%" or "0.5%".
func ParseAmount(s string) (Amount, error) {
	digits, isPercent := strings.CutSuffix(strings.TrimSpace(s), "%")
	if !isPercent {
		n, err := strconv.Atoi(digits)
		if err != nil || n < 0 || digits[0] == '+' {
			return Amount{}, fmt.Errorf("%q is not a number of hosts (such as 3) or a share (such as 15%%)", s)
		}
		return Count(n), nil
	}
	whole, fraction, _ := strings.Cut(strings.TrimSpace(digits), ".")
	if len(fraction) > 2 {
		return Amount{}, fmt.Errorf("%q has more than two decimals", s)
	}
	for len(fraction) < 2 {
		fraction += "0"
	}
	n, err := strconv.Atoi(whole + fraction)
	if err != nil || whole == "" || n < 0 || n > 10000 || whole[0] == '+' || whole[0] == '-' {
		return Amount{}, fmt.Errorf("%q is not a share between 0%% and 100%%", s)
	}
	return Amount{n: n, percent: true}, nil
}

// Capacity is the limit that the amount sets for a group of members hosts: the number itself, or the share
// rounded down, but at least 1; 0 and 0% are closed.
func (a Amount) Capacity(members int) int {
	if a.percent && a.n > 0 {
		return max(1, a.Floor(members))
	}
	return a.Floor(members)
}

// Floor is the number itself, or the share of members rounded down; it may be 0. Budgets are counted this way.
func (a Amount) Floor(members int) int {
	if a.percent {
		return a.n * members / 10000
	}
	return a.n
}

// Ceil is the number itself, or the share of members rounded up. Minimums are counted this way.
func (a Amount) Ceil(members int) int {
	if a.percent {
		return (a.n*members + 9999) / 10000
	}
	return a.n
}

// IsPercent reports whether the amount is a share.
func (a Amount) IsPercent() bool { return a.percent }

func (a Amount) String() string {
	if !a.percent {
		return strconv.Itoa(a.n)
	}
	s := strconv.Itoa(a.n / 100)
	if f := a.n % 100; f != 0 {
		s += "." + strings.TrimRight(fmt.Sprintf("%02d", f), "0")
	}
	return s + "%"
}

// MarshalJSON writes a number, or a string such as "15%".
func (a Amount) MarshalJSON() ([]byte, error) {
	if !a.percent {
		return strconv.AppendInt(nil, int64(a.n), 10), nil
	}
	return json.Marshal(a.String())
}

// UnmarshalJSON reads what MarshalJSON writes.
func (a *Amount) UnmarshalJSON(b []byte) error {
	var s string
	if len(b) > 0 && b[0] == '"' {
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
	} else {
		s = string(b)
	}
	parsed, err := ParseAmount(s)
	if err != nil {
		return err
	}
	*a = parsed
	return nil
}
