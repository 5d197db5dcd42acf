package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
)

// usage makes one line of what cobra says of an unknown command.
func usage(err error) string {
	said, near, suggests := strings.Cut(err.Error(), "\n\nDid you mean this?\n")
	switch words := strings.Fields(near); {
	case !strings.HasPrefix(said, "unknown command"), strings.HasSuffix(said, ")"):
		return err.Error()
	case suggests && len(words) > 0:
		return fmt.Sprintf("%s (did you mean %q? hpabench --help lists the commands)", said, words[0])
	}
	return said + " (hpabench --help lists the commands)"
}

// flagError says what a flag wants, and which one was meant.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &invalid) && invalid.GetFlag().Value.Type() == choiceType:
		f := invalid.GetFlag()
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand
		}
		return fmt.Errorf("%s must be one of %s, is %q", name, strings.Join(f.Value.(*choice).words, ", "), invalid.GetValue())
	case errors.As(err, &unknown):
		name := unknown.GetSpecifiedName()
		if len(name) == 1 {
			return fmt.Errorf("%w (%s --help lists the flags)", err, cmd.CommandPath())
		}
		var flags []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { flags = append(flags, "--"+f.Name) })
		return fmt.Errorf("unknown flag: --%s (%s)", name, scenarios.DidYouMean("--"+name, flags))
	case errors.Is(err, errNotPositive):
		return fmt.Errorf("--%s %w, is %s", invalid.GetFlag().Name, errNotPositive, invalid.GetValue())
	case errors.As(err, &invalid):
		want := map[string]string{"int": "an integer", "intSlice": "integers, such as 1,2,4", "uint64": "an integer of 0 or more", "float64": "a number", "bool": "true or false", "duration": scenarios.WantsDuration}[invalid.GetFlag().Value.Type()]
		hint := ""
		if want == scenarios.WantsDuration {
			if hint = scenarios.DurationHint(invalid.GetValue()); hint != "" {
				hint = " (" + hint + ")"
			}
		}
		if want != "" {
			return fmt.Errorf("--%s wants %s, has %q%s", invalid.GetFlag().Name, want, invalid.GetValue(), hint)
		}
	}
	return err
}

// choice is a flag that takes one of several words, or none where that is its default.
type choice struct {
	value   *string
	initial string
	words   []string
}

// positive is a flag that takes a duration above 0, and may have none.
type positive time.Duration

func addPositive(cmd *cobra.Command, d *time.Duration, name string, initial time.Duration, usage string) {
	*d = initial
	cmd.Flags().Var((*positive)(d), name, usage)
}

func (p *positive) String() string {
	if *p == 0 { // none, and no default that --help shows
		return ""
	}
	return time.Duration(*p).String()
}
func (p *positive) Type() string { return "duration" }
func (p *positive) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err == nil && d <= 0 {
		return errNotPositive
	}
	*p = positive(d)
	return err
}

var errNotPositive = errors.New("must be above 0")

// choiceType is what --help calls the value.
const choiceType = "word"

func addChoice(cmd *cobra.Command, value *string, name, short, initial, usage string, words ...string) {
	*value = initial
	cmd.Flags().VarP(&choice{value, initial, words}, name, short, usage)
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// addOutput adds -o, for the format in which something is printed.
func addOutput(cmd *cobra.Command, format *string, initial string, formats ...string) {
	addChoice(cmd, format, "output", "o", initial, "what to print: "+strings.Join(formats, ", "), formats...)
}

func (c *choice) String() string { return *c.value }
func (c *choice) Type() string   { return choiceType }
func (c *choice) Set(s string) error {
	if s != c.initial && !slices.Contains(c.words, s) {
		return errors.New("unknown word") // flagError says which there are
	}
	*c.value = s
	return nil
}

// countArguments makes a command say what arguments it takes where their number is wrong.
func countArguments(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		countArguments(c)
	}
	check := cmd.Args
	if check == nil {
		return
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		switch {
		case err == nil:
			return nil
		case cmd.HasSubCommands() && len(args) > 0:
			var names []string
			for _, c := range cmd.Commands() {
				names = append(names, c.Name())
			}
			return fmt.Errorf("unknown command %q of %s (%s)", args[0], cmd.CommandPath(), scenarios.DidYouMean(args[0], names))
		case strings.Contains(err.Error(), "arg(s)"), strings.HasPrefix(err.Error(), "unknown command"): // what cobra says
			return fmt.Errorf("%s has %s, expected: %s", cmd.CommandPath(), record.Counted(len(args), "argument"), cmd.UseLine())
		}
		return err
	}
}
