"""What people see: tables and progress in the terminal, and one page to hand on."""
