from gptoss_tui.cli import main

raise SystemExit(main())
