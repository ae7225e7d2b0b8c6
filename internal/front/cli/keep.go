package cli

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice"
)

// KeepOptions say what a server keeps; zero is everything.
type KeepOptions struct {
	Jobs, Output time.Duration
	OutputBytes  int64
	Archive      string
}

type keepFlags struct{ jobs, output, size, archive string }

func (f *keepFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.jobs, "keep-jobs", "", "keep output and scripts of a job for this `time` after its end, such as 90d (default: for ever)")
	c.Flags().StringVar(&f.output, "keep-output", "", "keep what commands printed and fetched for this `time`, such as 30d (default: for ever)")
	c.Flags().StringVar(&f.size, "keep-output-size", "", "keep at most this `size` of output, such as 20GiB (default: any)")
	c.Flags().StringVar(&f.archive, "archive", "", "put what is not kept any more into this `place` before: a directory, or s3://BUCKET/PREFIX")
}

func (f *keepFlags) options() (o KeepOptions, err error) {
	if o.Jobs, err = age("--keep-jobs", f.jobs); err != nil {
		return o, err
	}
	if o.Output, err = age("--keep-output", f.output); err != nil {
		return o, err
	}
	if o.OutputBytes, err = bytesOf("--keep-output-size", f.size); err != nil {
		return o, err
	}
	if o.Archive = f.archive; f.archive != "" && o == (KeepOptions{Archive: f.archive}) {
		return o, sluice.Errorf(sluice.Usage, "--archive needs something that is not kept").WithHint("--keep-jobs, --keep-output or --keep-output-size")
	}
	return o, nil
}

// age reads a time in days, or as all other times are written; "" is 0.
func age(flag, text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if days, isDays := strings.CutSuffix(text, "d"); isDays {
		var n int
		if n, err = strconv.Atoi(days); n > math.MaxInt64/int(24*time.Hour) {
			n = 0
		}
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d <= 0 {
		return 0, sluice.Errorf(sluice.Usage, "%s: %q is no time", flag, text).WithHint("such as 90d or 36h; leave it out to keep everything")
	}
	return d, nil
}

var units = []struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1}, {"", 1}}

// bytesOf reads a size; "" is 0.
func bytesOf(flag, text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	for _, u := range units {
		digits, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64); err == nil && n > 0 && n <= math.MaxInt64/u.bytes {
			return n * u.bytes, nil
		}
		break
	}
	return 0, sluice.Errorf(sluice.Usage, "%s: %q is no size", flag, text).WithHint("such as 20GiB or 500MB; leave it out to keep everything")
}
