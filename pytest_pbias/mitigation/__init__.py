"""What can be done about bias: prompt defences, training, and whether either paid."""
