// Package commandline looks at a command line and its environment before urfave/cli does, which stops at the first thing that
// it cannot read: whoever mends one problem does not want to meet the next. Both programs use it.
//
// It finds flags that do not exist, that are given twice or without a value, numbers, durations and truths that are none, and
// variables that are no text; what is right is handed on. The command line wins over the environment, which wins over the
// default, and Origins remembers which it was.
package commandline
