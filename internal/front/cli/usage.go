package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// helpWidth is the width of the smallest terminals: names and texts of flags then stay in their columns.
const helpWidth = 80

// usage writes how a command is used. A template would say the same, but a program that has one carries the whole
// template engine along: three megabytes, in memory too, in every run.
func usage(c *cobra.Command) error {
	var b strings.Builder
	b.WriteString("Usage:")
	if c.Runnable() {
		b.WriteString("\n  " + c.UseLine())
	}
	if c.HasAvailableSubCommands() {
		b.WriteString("\n  " + c.CommandPath() + " [command]")
	}
	if c.HasExample() {
		b.WriteString("\n\nExamples:\n" + c.Example)
	}
	if c.HasAvailableSubCommands() {
		if len(c.Groups()) == 0 {
			listCommands(&b, "Available Commands:", c, "")
		}
		for _, g := range c.Groups() {
			listCommands(&b, g.Title, c, g.ID)
		}
		if len(c.Groups()) > 0 && !c.AllChildCommandsHaveGroup() {
			listCommands(&b, "Additional Commands:", c, "")
		}
	}
	listFlags(&b, "Flags:", c.LocalFlags())
	listFlags(&b, "Global Flags:", c.InheritedFlags())
	if c.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\n\nUse %q for more about a command.", c.CommandPath()+" [command] --help")
	}
	_, err := fmt.Fprintln(c.OutOrStderr(), b.String())
	return err
}

func listCommands(b *strings.Builder, title string, c *cobra.Command, group string) {
	b.WriteString("\n\n" + title)
	for _, sub := range c.Commands() {
		if sub.GroupID == group && (sub.IsAvailableCommand() || sub.Name() == "help") {
			fmt.Fprintf(b, "\n  %-*s %s", sub.NamePadding(), sub.Name(), sub.Short)
		}
	}
}

func listFlags(b *strings.Builder, title string, flags *pflag.FlagSet) {
	if flags.HasAvailableFlags() {
		b.WriteString("\n\n" + title + "\n" + strings.TrimRight(flags.FlagUsagesWrapped(helpWidth), " \n"))
	}
}
