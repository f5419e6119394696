"""What a machine and an installed release are found to be: `edge-client self-test` and `edge-client doctor`.

`findings` is what both tell, `kernel_files` reads what the kernel says in files, `trials` are tried in processes of their own.
"""
